// Numbers as they lie in memory, and vectors of them. All arithmetic is in float.
//
// No header of CUDA is included: NVRTC comes without them. On the host, where the tests run these kernels, the
// conversions are done by hand; they give the same bits.

typedef unsigned int Index32;
typedef unsigned long long Index64;

__device__ inline float from_bits(unsigned int bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

__device__ inline unsigned int to_bits(float value)
{
    unsigned int bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

struct Float32
{
    typedef float Raw;
    __device__ static float read(Raw raw) { return raw; }
    __device__ static Raw write(float value) { return value; }
};

struct Float16
{
    typedef unsigned short Raw;

    __device__ static float read(Raw raw)
    {
#ifdef __CUDA_ARCH__
        float value;
        asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(raw));
        return value;
#else
        const unsigned int sign = (raw & 0x8000u) << 16;
        float magnitude = from_bits((raw & 0x7fffu) << 13) * 0x1p112f; // the exponents' biases differ by 112
        if ((raw & 0x7c00u) == 0x7c00u)
            magnitude = from_bits(0x7f800000u | (raw & 0x3ffu) << 13);
        return from_bits(sign | to_bits(magnitude));
#endif
    }

    __device__ static Raw write(float value)
    {
#ifdef __CUDA_ARCH__
        Raw raw;
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(raw) : "f"(value));
        return raw;
#else
        const unsigned int sign = to_bits(value) >> 16 & 0x8000u, magnitude = to_bits(value) & 0x7fffffffu;
        if (magnitude > 0x7f800000u)
            return 0x7fffu; // not a number
        if (magnitude >= 0x477ff000u)
            return sign | 0x7c00u; // rounds to infinity
        if (magnitude < 0x38800000u) // below the normal numbers, whose step 0.5f has in its last bit
            return sign | (to_bits(from_bits(magnitude) + 0.5f) - to_bits(0.5f));
        return sign | (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
#endif
    }

    __device__ static float read_low(unsigned int pair) { return read(Raw(pair)); }
    __device__ static float read_high(unsigned int pair) { return read(Raw(pair >> 16)); }

    __device__ static unsigned int write_pair(float low, float high)
    {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
        unsigned int pair;
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
        return pair;
#else
        return write(low) | (unsigned int)write(high) << 16;
#endif
    }
};

struct BFloat16
{
    typedef unsigned short Raw;

    __device__ static float read(Raw raw) { return from_bits((unsigned int)raw << 16); }

    __device__ static Raw write(float value)
    {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
        Raw raw;
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(raw) : "f"(value));
        return raw;
#else
        const unsigned int bits = to_bits(value);
        if ((bits & 0x7fffffffu) > 0x7f800000u)
            return 0x7fffu; // not a number
        return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
#endif
    }

    __device__ static float read_low(unsigned int pair) { return from_bits(pair << 16); }
    __device__ static float read_high(unsigned int pair) { return from_bits(pair & 0xffff0000u); }

    __device__ static unsigned int write_pair(float low, float high)
    {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
        unsigned int pair;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
        return pair;
#else
        return write(low) | (unsigned int)write(high) << 16;
#endif
    }
};

// N numbers that are loaded and stored by one instruction (up to 16 bytes). Those of 16 bits lie in words of two, which
// take one instruction each to read a number from, and one to write both.
template <class Type, int N, bool PAIRS = sizeof(typename Type::Raw) == 2 && N % 2 == 0> struct Packed;

template <class Type, int N> struct alignas(sizeof(typename Type::Raw) * N) Packed<Type, N, false>
{
    typename Type::Raw raw[N];

    __device__ float read(int i) const { return Type::read(raw[i]); }

    __device__ void write(const float (&values)[N])
    {
#pragma unroll
        for (int i = 0; i < N; i++)
            raw[i] = Type::write(values[i]);
    }
};

template <class Type, int N> struct alignas(2 * N) Packed<Type, N, true>
{
    unsigned int pair[N / 2];

    __device__ float read(int i) const
    {
        return i % 2 == 0 ? Type::read_low(pair[i / 2]) : Type::read_high(pair[i / 2]);
    }

    __device__ void write(const float (&values)[N])
    {
#pragma unroll
        for (int i = 0; i < N; i += 2)
            pair[i / 2] = Type::write_pair(values[i], values[i + 1]);
    }
};

// Load where there is something, else give zeros. On a GPU it is one instruction with a predicate and never a branch,
// after which the next load would wait for this one. The memory must not change while the kernel runs.
template <class Type, int N>
__device__ inline Packed<Type, N> load(const typename Type::Raw* address, bool there = true)
{
    constexpr int bytes = sizeof(typename Type::Raw) * N;
    Packed<Type, N> values = {};
#ifdef __CUDA_ARCH__
    unsigned int w[4];
    const int p = there;
    if (bytes == 16)
        asm("{ .reg .pred p; setp.ne.s32 p, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;"
            " @p ld.global.v4.b32 {%0, %1, %2, %3}, [%4]; }"
            : "=&r"(w[0]), "=&r"(w[1]), "=&r"(w[2]), "=&r"(w[3]) : "l"(address), "r"(p));
    else if (bytes == 8)
        asm("{ .reg .pred p; setp.ne.s32 p, %3, 0; mov.b32 %0, 0; mov.b32 %1, 0; @p ld.global.v2.b32 {%0, %1}, [%2]; }"
            : "=&r"(w[0]), "=&r"(w[1]) : "l"(address), "r"(p));
    else if (bytes == 4)
        asm("{ .reg .pred p; setp.ne.s32 p, %2, 0; mov.b32 %0, 0; @p ld.global.b32 %0, [%1]; }"
            : "=&r"(w[0]) : "l"(address), "r"(p));
    else // the upper half of the word becomes zero
        asm("{ .reg .pred p; setp.ne.s32 p, %2, 0; mov.b32 %0, 0; @p ld.global.u16 %0, [%1]; }"
            : "=&r"(w[0]) : "l"(address), "r"(p));
    memcpy(&values, w, bytes);
#else
    if (there)
        values = *reinterpret_cast<const Packed<Type, N>*>(address);
#endif
    return values;
}

// Store where there is a place; by one instruction, like loads.
template <class Type, int N>
__device__ inline void store(typename Type::Raw* address, const Packed<Type, N>& values, bool there = true)
{
#ifdef __CUDA_ARCH__
    constexpr int bytes = sizeof(typename Type::Raw) * N;
    unsigned int w[4] = {};
    const int p = there;
    memcpy(w, &values, bytes);
    if (bytes == 16)
        asm volatile("{ .reg .pred p; setp.ne.s32 p, %5, 0; @p st.global.v4.b32 [%4], {%0, %1, %2, %3}; }"
                     :: "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "l"(address), "r"(p) : "memory");
    else if (bytes == 8)
        asm volatile("{ .reg .pred p; setp.ne.s32 p, %3, 0; @p st.global.v2.b32 [%2], {%0, %1}; }"
                     :: "r"(w[0]), "r"(w[1]), "l"(address), "r"(p) : "memory");
    else if (bytes == 4)
        asm volatile("{ .reg .pred p; setp.ne.s32 p, %2, 0; @p st.global.b32 [%1], %0; }"
                     :: "r"(w[0]), "l"(address), "r"(p) : "memory");
    else
        asm volatile("{ .reg .pred p; setp.ne.s32 p, %2, 0; @p st.global.u16 [%1], %0; }"
                     :: "r"(w[0]), "l"(address), "r"(p) : "memory");
#else
    if (there)
        *reinterpret_cast<Packed<Type, N>*>(address) = values;
#endif
}
