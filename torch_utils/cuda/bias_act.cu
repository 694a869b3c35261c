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
// BIAS        0: none; 1: one for each vector; 2: VECTOR successive ones, aligned; 3: looked up for each element
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
        return !CLAMP ? y : y > s.clamp ? s.clamp : y < -s.clamp ? -s.clamp : y;
    }
    const float t = second + bias;
    const float size = FROM_OUTPUT ? fabsf(second) : fabsf(ACTIVATION::value(t, s.alpha) * s.gain);
    if (CLAMP && !(FROM_OUTPUT ? size < s.clamp : size <= s.clamp))
        return 0;
    if (ORDER == 1)
        return first * (s.gain * ACTIVATION::slope(t, s.alpha));
    return first * third * (s.gain * ACTIVATION::curvature(t, s.alpha));
}

__device__ inline void read(Vector& vector, const Raw* from, INDEX begin, INDEX size)
{
    if (size - begin >= VECTOR)
        vector = load<TYPE, VECTOR>(from + begin);
    else
#pragma unroll
        for (int i = 0; i < VECTOR; i++)
            if (i < size - begin)
                vector.raw[i] = from[begin + i];
}

__device__ inline void write(Raw* to, const Vector& vector, INDEX begin, INDEX size)
{
    if (size - begin >= VECTOR)
        store<TYPE, VECTOR>(to + begin, vector);
    else
#pragma unroll
        for (int i = 0; i < VECTOR; i++)
            if (i < size - begin)
                to[begin + i] = vector.raw[i];
}

__device__ inline void read_bias(float (&values)[VECTOR], const float* bias, INDEX begin, INDEX step, INDEX channels)
{
    const INDEX channel = BIAS == 1 ? begin / step % channels : BIAS == 2 ? begin % channels : 0;
    constexpr int part = VECTOR < 4 ? VECTOR : 4; // numbers in 16 bytes
#pragma unroll
    for (int i = 0; i < VECTOR; i += part) {
        const Packed<Float32, part> four = BIAS == 2 ? load<Float32, part>(bias + channel + i) : Packed<Float32, part>();
#pragma unroll
        for (int k = 0; k < part; k++)
            values[i + k] = BIAS == 0   ? 0
                            : BIAS == 1 ? bias[channel]
                            : BIAS == 2 ? four.read(k)
                                        : bias[(begin + i + k) / step % channels];
    }
}

// Element i belongs to channel i / step % channels. Vectors of a block lie side by side; the last may be shorter.
extern "C" __global__ void __launch_bounds__(256) KERNEL(
    Raw* out, const Raw* first, const Raw* second, const Raw* third, const float* bias, long long size, long long step,
    long long channels, float alpha, float gain, float clamp)
{
    const INDEX count = size, block = INDEX(blockDim.x) * VECTOR;
    const INDEX begin = block * UNROLL * blockIdx.x + threadIdx.x * VECTOR;
    Vector a[UNROLL], b[UNROLL], c[UNROLL];
#pragma unroll
    for (int u = 0; u < UNROLL; u++) { // all loads are under way before the first result is computed
        const INDEX i = begin + u * block;
        if (i < count) {
            read(a[u], first, i, count);
            if (ORDER >= 1)
                read(b[u], second, i, count);
            if (ORDER == 2)
                read(c[u], third, i, count);
        }
    }
    const Scalars scalars = {alpha, gain, clamp};
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
        const INDEX i = begin + u * block;
        if (i >= count)
            return;
        float shift[VECTOR];
        read_bias(shift, bias, i, step, channels);
        Vector values;
#pragma unroll
        for (int k = 0; k < VECTOR; k++) {
            const float second_value = ORDER >= 1 ? b[u].read(k) : 0, third_value = ORDER == 2 ? c[u].read(k) : 0;
            values.write(k, result(a[u].read(k), second_value, third_value, shift[k], scalars));
        }
        write(out, values, i, count);
    }
}
