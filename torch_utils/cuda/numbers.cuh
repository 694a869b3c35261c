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
};

// N numbers that are loaded and stored by one instruction (up to 16 bytes).
template <class Type, int N> struct alignas(sizeof(typename Type::Raw) * N) Packed
{
    typename Type::Raw raw[N];

    __device__ float read(int i) const { return Type::read(raw[i]); }
    __device__ void write(int i, float value) { raw[i] = Type::write(value); }
};

template <class Type, int N> __device__ inline Packed<Type, N> load(const typename Type::Raw* address)
{
    return *reinterpret_cast<const Packed<Type, N>*>(address);
}

template <class Type, int N> __device__ inline void store(typename Type::Raw* address, const Packed<Type, N>& values)
{
    *reinterpret_cast<Packed<Type, N>*>(address) = values;
}
