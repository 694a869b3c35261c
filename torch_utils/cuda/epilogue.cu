// y = clamp(act(x * scale[n, c] + noise[n, p] * strength + bias[c])) and its derivatives, with act(t) = t > 0 ? t : t * alpha.
// The slope m follows from the output: 1, alpha, or beyond the clamp 0. With dt = dy * m:
//
// ORDER 0: x, scale, noise, strength, bias      -> y
// ORDER 1: dy, y, x, scale, noise               -> dx = dt * scale; sums over pixels: dt * x, dt, dt * noise
// ORDER 2: h, h_scale, h_strength, h_bias, of which h belongs to dx and the others to the three sums; dy, y, x, scale, noise
//            -> for dy: m * (h * scale + x * h_scale + noise * h_strength + h_bias); for x: dt * h_scale;
//               sums over pixels: dt * h
//
// A null pointer to noise, strength, bias or h_scale stands for zeros.
//
// TYPE    Float32, Float16 or BFloat16
// CLAMP   1 with a bound
// PLANAR  0: images are [n, pixels, channels], and a thread goes through pixels with VECTOR channels;
//         1: they are [n, channels, pixels], and a thread goes through pixels, VECTOR at a time, of one channel
// VECTOR  elements of one load
// UNROLL  loads of a tensor that are under way together
//
// Sums of a block are added up in a tree, in an order that is always the same, and written for each block; there are
// no atomic sums.

typedef TYPE::Raw Raw;
typedef Packed<TYPE, VECTOR> Vector;

constexpr int OWN = PLANAR ? 1 : VECTOR; // channels of a thread
constexpr int SUMS = ORDER == 0 ? 0 : ORDER == 1 ? 3 : 1;
constexpr int PART = VECTOR < 4 ? VECTOR : 4; // numbers in 16 bytes

// Floats that belong to a vector; zeros where there are none.
template <int N> __device__ inline void read_floats(float (&values)[N], const float* address, bool there)
{
    constexpr int part = N < PART ? N : PART;
#pragma unroll
    for (int i = 0; i < N; i += part) {
        const Packed<Float32, part> few = load<Float32, part>(address + i, there);
#pragma unroll
        for (int k = 0; k < part; k++)
            values[i + k] = few.read(k);
    }
}

__device__ inline float value(float t, float alpha, float clamp)
{
    const float y = t > 0 ? t : t * alpha;
    const float low = CLAMP && y > clamp ? clamp : y; // one after the other, which takes no branch; NaN stays
    return CLAMP && low < -clamp ? -clamp : low;
}

__device__ inline float slope(float y, float alpha, float clamp)
{
    const float m = y > 0 ? 1 : alpha;
    return CLAMP && !(fabsf(y) < clamp) ? 0 : m;
}

// Add up what the threads of a block have for the same channels, whose numbers are those of `threadIdx.x % lanes`;
// the first `lanes` threads have the sums.
template <int COUNT> __device__ inline void add_up(float* own, int lanes)
{
    __shared__ float others[COUNT][256]; // each is written once: a barrier a level
    for (int half = blockDim.x / 2; half >= lanes; half /= 2) {
        if (threadIdx.x >= half && threadIdx.x < 2 * half)
#pragma unroll
            for (int i = 0; i < COUNT; i++)
                others[i][threadIdx.x] = own[i];
        __syncthreads();
        if (threadIdx.x < half)
#pragma unroll
            for (int i = 0; i < COUNT; i++)
                own[i] += others[i][threadIdx.x + half];
    }
}

// A block has `lanes` threads side by side (PLANAR: one), and the others in the direction of the pixels, each of which
// takes `steps` times UNROLL of them. `first`, `second`, `third`, `fourth` are x; or dy, y, x; or dy, y, x, h.
// `sums` is [n, tiles, SUMS, channels]; the noise of the next image lies `noise_step` numbers further.
extern "C" __global__ void __launch_bounds__(256) KERNEL(
    Raw* out, Raw* to_x, float* sums, const Raw* x, const Raw* dy, const Raw* y, const Raw* h, const float* scale,
    const float* noise, const float* strength, const float* bias, const float* h_scale, int channels, int pixels,
    int groups, int tiles, int lanes, int steps, int noise_step, float alpha, float clamp)
{
    const unsigned int group = blockIdx.x % groups, after_group = blockIdx.x / groups;
    const unsigned int tile = after_group % tiles, n = after_group / tiles;
    const int rows = blockDim.x / lanes, stride = PLANAR ? rows * VECTOR : rows; // pixels from load to load
    const int channel = PLANAR ? group : (group * lanes + threadIdx.x % lanes) * VECTOR;
    int pixel = tile * steps * UNROLL * stride + threadIdx.x / lanes * (PLANAR ? VECTOR : 1);
    const long long row = (long long)n * channels;
    long long at = PLANAR ? (row + channel) * pixels + pixel : row * pixels + (long long)pixel * channels + channel;
    const long long next = PLANAR ? stride : (long long)stride * channels;

    float factor[OWN], shift[OWN], h_factor[OWN], own[3 * OWN] = {};
    read_floats<OWN>(factor, scale + row + channel, true);
    read_floats<OWN>(shift, bias + channel, ORDER != 1 && bias != nullptr);
    read_floats<OWN>(h_factor, h_scale + row + channel, ORDER == 2 && h_scale != nullptr);
    const float weight = load<Float32, 1>(strength, ORDER != 1 && strength != nullptr).read(0);
    const float* const own_noise = noise + (long long)n * noise_step;

#pragma unroll 1
    for (int step = 0; step < steps; step++) {
        Vector a[UNROLL], b[UNROLL], c[UNROLL], d[UNROLL];
        float e[UNROLL][PLANAR ? VECTOR : 1];
#pragma unroll
        for (int u = 0; u < UNROLL; u++) { // all loads are under way before the first result is computed
            const bool there = pixel + u * stride < pixels;
            const long long i = at + u * next;
            a[u] = load<TYPE, VECTOR>(x + i, there);
            if (ORDER >= 1) {
                b[u] = load<TYPE, VECTOR>(dy + i, there);
                c[u] = load<TYPE, VECTOR>(y + i, there);
            }
            if (ORDER == 2)
                d[u] = load<TYPE, VECTOR>(h + i, there);
            read_floats(e[u], own_noise + pixel + u * stride, there && noise != nullptr);
        }
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
            float results[VECTOR], results_x[VECTOR];
#pragma unroll
            for (int k = 0; k < VECTOR; k++) {
                const int o = PLANAR ? 0 : k;
                const float there = a[u].read(k), spot = e[u][PLANAR ? k : 0];
                if (ORDER == 0) {
                    results[k] = value(there * factor[o] + (spot * weight + shift[o]), alpha, clamp);
                    continue;
                }
                const float m = slope(c[u].read(k), alpha, clamp), dt = b[u].read(k) * m;
                if (ORDER == 1) {
                    results[k] = dt * factor[o];
                    own[o] += dt * there;
                    own[OWN + o] += dt;
                    own[2 * OWN + o] += dt * spot;
                    continue;
                }
                const float tangent = d[u].read(k);
                results[k] = m * (tangent * factor[o] + there * h_factor[o] + (spot * weight + shift[o]));
                results_x[k] = dt * h_factor[o];
                own[o] += dt * tangent;
            }
            const bool there = pixel + u * stride < pixels;
            Vector packed;
            packed.write(results);
            store<TYPE, VECTOR>(out + at + u * next, packed, there);
            if (ORDER == 2) {
                packed.write(results_x);
                store<TYPE, VECTOR>(to_x + at + u * next, packed, there);
            }
        }
        pixel += UNROLL * stride;
        at += UNROLL * next;
    }

    if constexpr (SUMS > 0) {
        add_up<SUMS * OWN>(own, lanes);
        float* const target = sums + ((long long)n * tiles + tile) * SUMS * channels + channel;
        if (threadIdx.x < lanes)
#pragma unroll
            for (int i = 0; i < SUMS; i++)
#pragma unroll
                for (int o = 0; o < OWN; o++)
                    target[i * channels + o] = own[i * OWN + o];
    }
}
