// Upsample, filter and downsample: each thread computes PATCH_X x PATCH_Y neighbouring outputs of LANES channels.
//
// Images are [images, height, width, channels]; NCHW is the case of one channel and N * C images. A patch reads each
// input that it needs once, into registers; its neighbours' reads meet in the cache. Which input meets which tap is
// known to the compiler, so no inserted zero is ever read or multiplied.
//
// Column j of a patch sits at position PHASE_X + j * DOWN_X of the upsampled row whose column m * UP_X holds the
// patch's input column m; the same along y.
//
// LOAD, STORE  columns of one load and one store where there is one channel; then inputs and outputs are aligned

typedef TYPE::Raw Raw;

constexpr int COLUMNS = ((PHASE_X + (PATCH_X - 1) * DOWN_X + TAPS_X - 1) / UP_X + LOAD) / LOAD * LOAD;
constexpr int ROWS = (PHASE_Y + (PATCH_Y - 1) * DOWN_Y + TAPS_Y - 1) / UP_Y + 1;
constexpr int STEP_X = PATCH_X * DOWN_X / UP_X, STEP_Y = PATCH_Y * DOWN_Y / UP_Y; // input pixels from patch to patch

// Read one row of inputs from `column` on; what lies outside the image is zero.
__device__ inline void read_row(
    float (&row)[COLUMNS * LANES], const Raw* line, bool inside, int column, int width, long long channels)
{
#pragma unroll
    for (int m = 0; m < COLUMNS; m += LOAD) {
        Packed<TYPE, LOAD * LANES> values = {};
        if (inside && column + m >= 0 && column + m < width)
            values = load<TYPE, LOAD * LANES>(line + (column + m) * channels);
#pragma unroll
        for (int i = 0; i < LOAD * LANES; i++)
            row[m * LANES + i] = values.read(i);
    }
}

// Add to the outputs what row `r` of the inputs contributes.
__device__ inline void accumulate(
    float (&sums)[PATCH_Y][PATCH_X * LANES], const float (&taps)[TAPS_Y][TAPS_X], const float (&row)[COLUMNS * LANES],
    int r)
{
#pragma unroll
    for (int i = 0; i < PATCH_Y; i++) {
        const int ky = r * UP_Y - PHASE_Y - i * DOWN_Y;
        if (ky < 0 || ky >= TAPS_Y)
            continue;
#pragma unroll
        for (int j = 0; j < PATCH_X; j++) {
#pragma unroll
            for (int m = 0; m < COLUMNS; m++) {
                const int kx = m * UP_X - PHASE_X - j * DOWN_X;
                if (kx < 0 || kx >= TAPS_X)
                    continue;
#pragma unroll
                for (int lane = 0; lane < LANES; lane++)
                    sums[i][j * LANES + lane] += taps[ky][kx] * row[m * LANES + lane];
            }
        }
    }
}

// A block is 2^log_c channel vectors x 2^log_x x 2^log_y patches x the rest images; blocks are counted in that order.
// The first patch's input begins `shift` pixels before the image.
extern "C" __global__ void __launch_bounds__(256, 2) KERNEL(
    Raw* y, const Raw* x, const float* f, long long images, int channels, int in_width, int in_height, int out_width,
    int out_height, int shift_x, int shift_y, int log_c, int log_x, int log_y, int blocks_c, int blocks_x, int blocks_y,
    int flip, float gain)
{
    const unsigned int t = threadIdx.x;
    const unsigned int block_c = blockIdx.x % blocks_c, after_c = blockIdx.x / blocks_c;
    const unsigned int block_x = after_c % blocks_x, after_x = after_c / blocks_x;
    const unsigned int block_y = after_x % blocks_y, block_n = after_x / blocks_y;
    const int c = ((block_c << log_c) + (t & ((1 << log_c) - 1))) * LANES;
    const int patch_x = (block_x << log_x) + (t >> log_c & ((1 << log_x) - 1));
    const int patch_y = (block_y << log_y) + (t >> (log_c + log_x) & ((1 << log_y) - 1));
    const int log_cxy = log_c + log_x + log_y;
    const long long n = (long long)block_n * (blockDim.x >> log_cxy) + (t >> log_cxy);
    const int out_x = patch_x * PATCH_X, out_y = patch_y * PATCH_Y;
    if (c >= channels || out_x >= out_width || out_y >= out_height || n >= images)
        return;

    float taps[TAPS_Y][TAPS_X];
#pragma unroll
    for (int i = 0; i < TAPS_X * TAPS_Y; i++)
        taps[i / TAPS_X][i % TAPS_X] = f[flip ? i : TAPS_X * TAPS_Y - 1 - i] * gain;

    float sums[PATCH_Y][PATCH_X * LANES] = {};
    const int column = patch_x * STEP_X - shift_x, first_row = patch_y * STEP_Y - shift_y;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float row[COLUMNS * LANES];
        const bool inside = first_row + r >= 0 && first_row + r < in_height;
        const Raw* line = x + (n * in_height + (inside ? first_row + r : 0)) * in_width * channels + c;
        read_row(row, line, inside, column, in_width, channels);
        accumulate(sums, taps, row, r);
    }

#pragma unroll
    for (int i = 0; i < PATCH_Y; i++) {
#pragma unroll
        for (int j = 0; j < PATCH_X; j += STORE) {
            if (out_y + i >= out_height || out_x + j >= out_width)
                continue;
            Packed<TYPE, STORE * LANES> values;
#pragma unroll
            for (int k = 0; k < STORE * LANES; k++)
                values.write(k, sums[i][j * LANES + k]);
            store<TYPE, STORE * LANES>(y + ((n * out_height + out_y + i) * out_width + out_x + j) * channels + c, values);
        }
    }
}
