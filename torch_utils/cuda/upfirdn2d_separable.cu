// Upsample, filter with the same taps along both axes, and downsample, in one pass: a block brings the input of its
// TILE_X x TILE_Y outputs of CHANNELS channels into shared memory, filters it along x and then along y.
//
// Images are [images, height, width, channels]; NCHW is the case of one channel and N * C images. Each thread
// computes RUN neighbouring outputs of an axis at a time, so that a number from shared memory serves several of them.
//
// Output j of a run sits at position PHASE + j * DOWN of the upsampled axis whose position m * UP holds input m.

typedef TYPE::Raw Raw;

constexpr int IN_X = (PHASE_X + (TILE_X - 1) * DOWN_X + TAPS - 1) / UP_X + 1;
constexpr int IN_Y = (PHASE_Y + (TILE_Y - 1) * DOWN_Y + TAPS - 1) / UP_Y + 1;
constexpr int ROW = IN_X | 1, ROW_MIDDLE = TILE_X | 1; // odd: neighbouring rows begin in different banks

// Read `in[m * stride]` and write RUN outputs.
template <int RUN, int UP, int DOWN, int PHASE>
__device__ inline void filter_run(float (&out)[RUN], const float (&taps)[TAPS], const float* in, int stride)
{
    constexpr int WINDOW = (PHASE + (RUN - 1) * DOWN + TAPS - 1) / UP + 1;
#pragma unroll
    for (int j = 0; j < RUN; j++)
        out[j] = 0;
#pragma unroll
    for (int m = 0; m < WINDOW; m++) {
        const float value = in[m * stride];
#pragma unroll
        for (int j = 0; j < RUN; j++) {
            const int k = m * UP - PHASE - j * DOWN;
            if (k >= 0 && k < TAPS)
                out[j] += taps[k] * value;
        }
    }
}

// The first tile's input begins `shift` pixels before the image. Gain is that of both axes together.
extern "C" __global__ void __launch_bounds__(256) KERNEL(
    Raw* y, const Raw* x, const float* f, int channels, int in_width, int in_height, int out_width, int out_height,
    int shift_x, int shift_y, int blocks_c, int blocks_x, int blocks_y, int flip, float gain)
{
    __shared__ float input[IN_Y * ROW * CHANNELS], middle[IN_Y * ROW_MIDDLE * CHANNELS];
    const unsigned int block_c = blockIdx.x % blocks_c, after_c = blockIdx.x / blocks_c;
    const unsigned int block_x = after_c % blocks_x, after_x = after_c / blocks_x;
    const unsigned int block_y = after_x % blocks_y;
    const long long n = after_x / blocks_y;
    const int first_c = block_c * CHANNELS;
    const int column = int(block_x) * (TILE_X * DOWN_X / UP_X) - shift_x;
    const int line = int(block_y) * (TILE_Y * DOWN_Y / UP_Y) - shift_y;

    for (int i = threadIdx.x; i < IN_Y * IN_X * CHANNELS; i += blockDim.x) {
        const int c = i % CHANNELS, in_x = i / CHANNELS % IN_X, in_y = i / CHANNELS / IN_X;
        const bool inside = first_c + c < channels && column + in_x >= 0 && column + in_x < in_width &&
                            line + in_y >= 0 && line + in_y < in_height;
        const Raw* at = x + ((n * in_height + line + in_y) * in_width + column + in_x) * channels + first_c + c;
        input[(in_y * ROW + in_x) * CHANNELS + c] = inside ? TYPE::read(*at) : 0;
    }
    float taps[TAPS];
#pragma unroll
    for (int k = 0; k < TAPS; k++)
        taps[k] = f[flip ? k : TAPS - 1 - k];
    __syncthreads();

    for (int i = threadIdx.x; i < IN_Y * (TILE_X / RUN_X) * CHANNELS; i += blockDim.x) {
        const int c = i % CHANNELS, in_y = i / CHANNELS % IN_Y, run = i / CHANNELS / IN_Y;
        const float* from = input + (in_y * ROW + run * (RUN_X * DOWN_X / UP_X)) * CHANNELS + c;
        float out[RUN_X];
        filter_run<RUN_X, UP_X, DOWN_X, PHASE_X>(out, taps, from, CHANNELS);
#pragma unroll
        for (int j = 0; j < RUN_X; j++)
            middle[(in_y * ROW_MIDDLE + run * RUN_X + j) * CHANNELS + c] = out[j];
    }
    __syncthreads();

    for (int i = threadIdx.x; i < (TILE_Y / RUN_Y) * TILE_X * CHANNELS; i += blockDim.x) {
        const int c = i % CHANNELS, tile_x = i / CHANNELS % TILE_X, run = i / CHANNELS / TILE_X;
        const float* from = middle + (run * (RUN_Y * DOWN_Y / UP_Y) * ROW_MIDDLE + tile_x) * CHANNELS + c;
        float out[RUN_Y];
        filter_run<RUN_Y, UP_Y, DOWN_Y, PHASE_Y>(out, taps, from, ROW_MIDDLE * CHANNELS);
        const int out_x = block_x * TILE_X + tile_x, out_y = block_y * TILE_Y + run * RUN_Y;
        if (first_c + c >= channels || out_x >= out_width)
            continue;
#pragma unroll
        for (int j = 0; j < RUN_Y; j++)
            if (out_y + j < out_height)
                y[((n * out_height + out_y + j) * out_width + out_x) * channels + first_c + c] =
                    TYPE::write(out[j] * gain);
    }
}
