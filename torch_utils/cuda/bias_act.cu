// y = clamp(gain * act(x + bias)) and its derivatives, element by element over the storage of a dense tensor.
//
// ORDER 0: first = x                                  -> y
// ORDER 1: first = dy, second = reference             -> dy * slope
// ORDER 2: first = h, second = reference, third = dy  -> h * dy * curvature
//
// The reference is x, or with FROM_OUTPUT the output y, which tells all about slopes that depend on a sign only.
//
// TYPE        Float32, Float16 or BFloat16
// INDEX       Index32 or Index64: what counts the elements
// ACTIVATION  one of the structs below
// CLAMP       1 with a bound
// BIAS        0: none; 1: one for each vector; 2: VECTOR successive ones, aligned; 3: looked up for each element; 4: as
//             2, and the same for all vectors of a thread
// VECTOR      elements of one load
// UNROLL      loads of one thread
//
// Vectors are indexed by constants only: else they would lie in memory instead of registers.

struct Linear
{
    __device__ static float value(float t, float) { return t; }
    __device__ static float slope(float, float) { return 1; }
    __device__ static float curvature(float, float) { return 0; }
};

struct Lrelu
{
    __device__ static float value(float t, float alpha) { return t > 0 ? t : t * alpha; }
    __device__ static float slope(float t, float alpha) { return t > 0 ? 1 : alpha; }
    __device__ static float curvature(float, float) { return 0; }
};

struct Relu
{
    __device__ static float value(float t, float) { return t < 0 ? 0 : t; } // keeps what is not a number
    __device__ static float slope(float t, float) { return t > 0 ? 1 : 0; }
    __device__ static float curvature(float, float) { return 0; }
};

struct Tanh
{
    __device__ static float value(float t, float) { return tanhf(t); }
    __device__ static float slope(float t, float) { return 1 - tanhf(t) * tanhf(t); }
    __device__ static float curvature(float t, float) { return -2 * tanhf(t) * slope(t, 0); }
};

struct Sigmoid
{
    __device__ static float value(float t, float) { return 1 / (1 + expf(-t)); }
    __device__ static float slope(float t, float) { return value(t, 0) * (1 - value(t, 0)); }
    __device__ static float curvature(float t, float) { return slope(t, 0) * (1 - 2 * value(t, 0)); }
};

struct Elu
{
    __device__ static float value(float t, float) { return t > 0 ? t : expm1f(t); }
    __device__ static float slope(float t, float) { return t > 0 ? 1 : expf(t); }
    __device__ static float curvature(float t, float) { return t > 0 ? 0 : expf(t); }
};

struct Selu
{
    static constexpr float scale = 1.0507009873554805f, below = 1.6732632423543772f;
    __device__ static float value(float t, float) { return scale * (t > 0 ? t : below * expm1f(t)); }
    __device__ static float slope(float t, float) { return scale * (t > 0 ? 1 : below * expf(t)); }
    __device__ static float curvature(float t, float) { return t > 0 ? 0 : scale * below * expf(t); }
};

struct Softplus
{
    __device__ static float value(float t, float) { return t > 20 ? t : log1pf(expf(t)); }
    __device__ static float slope(float t, float) { return t > 20 ? 1 : Sigmoid::value(t, 0); }
    __device__ static float curvature(float t, float) { return t > 20 ? 0 : Sigmoid::slope(t, 0); }
};

struct Swish
{
    __device__ static float value(float t, float) { return t * Sigmoid::value(t, 0); }
    __device__ static float slope(float t, float)
    {
        const float s = Sigmoid::value(t, 0);
        return s * (1 + t * (1 - s));
    }
    __device__ static float curvature(float t, float)
    {
        const float s = Sigmoid::value(t, 0);
        return s * (1 - s) * (2 + t * (1 - 2 * s));
    }
};

typedef TYPE::Raw Raw;
typedef Packed<TYPE, VECTOR> Vector;

struct Scalars
{
    float alpha, gain, clamp;
};

__device__ inline float result(float first, float second, float third, float bias, const Scalars& s)
{
    if (ORDER == 0) {
        const float y = ACTIVATION::value(first + bias, s.alpha) * s.gain;
        const float low = CLAMP && y > s.clamp ? s.clamp : y; // one after the other, which takes no branch; NaN stays
        return CLAMP && low < -s.clamp ? -s.clamp : low;
    }
    const float t = second + bias;
    const float size = FROM_OUTPUT ? fabsf(second) : fabsf(ACTIVATION::value(t, s.alpha) * s.gain);
    if (CLAMP && !(FROM_OUTPUT ? size < s.clamp : size <= s.clamp))
        return 0;
    if (ORDER == 1)
        return first * (s.gain * ACTIVATION::slope(t, s.alpha));
    return first * third * (s.gain * ACTIVATION::curvature(t, s.alpha));
}

__device__ inline void read_bias(float (&values)[VECTOR], const float* bias, INDEX begin, INDEX step, INDEX channels)
{
    if (BIAS == 2 || BIAS == 4) {
        constexpr int part = VECTOR < 4 ? VECTOR : 4; // numbers in 16 bytes
#pragma unroll
        for (int i = 0; i < VECTOR; i += part) {
            const Packed<Float32, part> four = load<Float32, part>(bias + begin % channels + i);
#pragma unroll
            for (int k = 0; k < part; k++)
                values[i + k] = four.read(k);
        }
        return;
    }
    INDEX channel = BIAS == 0 ? 0 : begin / step % channels, place = BIAS == 3 ? begin % step : 0;
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        values[i] = BIAS == 0 ? 0 : bias[channel];
        if (BIAS == 3) { // the place of the next element, without a division
            const bool is_next = ++place == step;
            place = is_next ? 0 : place;
            channel += is_next;
            channel = channel == channels ? 0 : channel;
        }
    }
}

// Element i belongs to channel i / step % channels. Vectors of a block lie side by side.
extern "C" __global__ void __launch_bounds__(256) KERNEL(
    Raw* out, const Raw* first, const Raw* second, const Raw* third, const float* bias, long long size, long long step,
    long long channels, float alpha, float gain, float clamp)
{
    const INDEX count = size, block = INDEX(blockDim.x) * VECTOR;
    const INDEX begin = block * UNROLL * blockIdx.x + threadIdx.x * VECTOR;
    const Scalars scalars = {alpha, gain, clamp};

    Vector a[UNROLL], b[UNROLL], c[UNROLL];
#pragma unroll
    for (int u = 0; u < UNROLL; u++) { // all loads are under way before the first result is computed
        const INDEX i = begin + u * block;
        const bool whole = i + VECTOR <= count;
        a[u] = load<TYPE, VECTOR>(first + i, whole);
        if (ORDER >= 1)
            b[u] = load<TYPE, VECTOR>(second + i, whole);
        if (ORDER == 2)
            c[u] = load<TYPE, VECTOR>(third + i, whole);
    }
    float shift[VECTOR];
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
        const INDEX i = begin + u * block;
        if (u == 0 || BIAS != 4)
            read_bias(shift, bias, i, step, channels);
        float values[VECTOR];
#pragma unroll
        for (int k = 0; k < VECTOR; k++) {
            const float second_value = ORDER >= 1 ? b[u].read(k) : 0, third_value = ORDER == 2 ? c[u].read(k) : 0;
            values[k] = result(a[u].read(k), second_value, third_value, shift[k], scalars);
        }
        Vector packed;
        packed.write(values);
        store<TYPE, VECTOR>(out + i, packed, i + VECTOR <= count);
    }

    // The last vector of all may be shorter; whose it is computes it element by element.
    const INDEX whole = count / VECTOR * VECTOR;
    if (whole == count || whole < begin || (whole - begin) % block > 0 || whole - begin >= UNROLL * block)
        return;
#pragma unroll 1
    for (INDEX i = whole; i < count; i++) {
        const float second_value = ORDER >= 1 ? TYPE::read(second[i]) : 0;
        const float third_value = ORDER == 2 ? TYPE::read(third[i]) : 0;
        const float shift = BIAS == 0 ? 0 : bias[i / INDEX(step) % INDEX(channels)];
        out[i] = TYPE::write(result(TYPE::read(first[i]), second_value, third_value, shift, scalars));
    }
}
