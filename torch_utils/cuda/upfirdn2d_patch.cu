// Upsample, filter and downsample: each thread computes PATCH_X x PATCH_Y neighbouring outputs of LANES channels.
//
// Images are [images, height, width, channels]; NCHW is the case of one channel and N * C images. A patch reads each
// input that it needs once, into registers; its neighbours' reads meet in the cache. Which input meets which tap is
// known to the compiler, so no inserted zero is ever read or multiplied.
//
// Column j of a patch sits at position PHASE_X + j * DOWN_X of the upsampled row whose column m * UP_X holds the
// patch's input column m; the same along y. Rows are read from top to bottom, each while the one before is computed,
// and an output is written as soon as its last row is there: few sums are held at a time.
//
// OUTER        1: the filter is the outer product of up to four taps along y and along x, which are arguments; a row is
//              filtered along x once, for all outputs. 0: it is any filter, in memory
// LOAD, STORE  columns of one load and one store where there is one channel; then inputs and outputs are aligned

typedef TYPE::Raw Raw;

constexpr int LOADS = ((PHASE_X + (PATCH_X - 1) * DOWN_X + TAPS_X - 1) / UP_X + LOAD) / LOAD; // loads of a row
constexpr int ROWS = (PHASE_Y + (PATCH_Y - 1) * DOWN_Y + TAPS_Y - 1) / UP_Y + 1;
constexpr int STEP_X = PATCH_X * DOWN_X / UP_X, STEP_Y = PATCH_Y * DOWN_Y / UP_Y; // input pixels from patch to patch
constexpr int WIDE = PATCH_X * LANES;

struct Row
{
    Packed<TYPE, LOAD * LANES> inputs[LOADS];

    __device__ float read(int column, int lane) const
    {
        return inputs[column / LOAD].read(column % LOAD * LANES + lane);
    }
};

// Where a patch reads: the address of each load in its first row, and the number of rows in which it is inside.
struct Source
{
    const Raw* address[LOADS];
    unsigned int height[LOADS];
    int first_row, line; // elements from row to row

    __device__ Row read(int r) const
    {
        Row row;
#pragma unroll
        for (int m = 0; m < LOADS; m++)
            row.inputs[m] = load<TYPE, LOAD * LANES>(address[m] + (long long)line * r, first_row + r < height[m]);
        return row;
    }
};

__device__ inline Source find_source(
    const Raw* image, int column, int first_row, int channels, int width, int height)
{
    Source source = {{}, {}, first_row, width * channels};
#pragma unroll
    for (int m = 0; m < LOADS; m++) {
        const int at = column + m * LOAD;
        source.address[m] = image + (long long)first_row * source.line + (long long)at * channels;
        source.height[m] = at >= 0 && at < width ? height : 0;
    }
    return source;
}

// Add the taps of one row of the filter times a row of inputs to as many sums as a patch is wide.
__device__ inline void filter_row(float (&sums)[WIDE], const float* taps, const Row& row)
{
#pragma unroll
    for (int j = 0; j < PATCH_X; j++) {
#pragma unroll
        for (int m = 0; m < LOADS * LOAD; m++) {
            const int kx = m * UP_X - PHASE_X - j * DOWN_X;
            if (kx < 0 || kx >= TAPS_X)
                continue;
#pragma unroll
            for (int lane = 0; lane < LANES; lane++)
                sums[j * LANES + lane] += taps[kx] * row.read(m, lane);
        }
    }
}

// A block is 2^log_c channel vectors x 2^log_x x 2^log_y patches x the rest images; blocks are counted in that order.
// The first patch's input begins `shift` pixels before the image. Taps along an axis are in the order of the pixels.
extern "C" __global__ void __launch_bounds__(256, 2) KERNEL(
    Raw* y, const Raw* x, const float* f, long long images, int channels, int in_width, int in_height, int out_width,
    int out_height, int shift_x, int shift_y, int log_c, int log_x, int log_y, int blocks_c, int blocks_x, int blocks_y,
    int flip, float gain, float x0, float x1, float x2, float x3, float y0, float y1, float y2, float y3)
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

    const Raw* image = x + n * in_height * in_width * channels + c;
    const int column = patch_x * STEP_X - shift_x, first_row = patch_y * STEP_Y - shift_y;
    const Source source = find_source(image, column, first_row, channels, in_width, in_height);
    Row next = source.read(0);

    const float along_x[4] = {x0, x1, x2, x3}, along_y[4] = {y0, y1, y2, y3};
    float taps[TAPS_Y][TAPS_X];
#pragma unroll
    for (int i = 0; i < TAPS_X * TAPS_Y; i++)
        taps[i / TAPS_X][i % TAPS_X] = OUTER ? 0 : f[flip ? i : TAPS_X * TAPS_Y - 1 - i] * gain;

    Raw* to = y + ((n * out_height + out_y) * out_width + out_x) * channels + c;
    const int out_line = out_width * channels;
    float sums[PATCH_Y][WIDE] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const Row row = next;
        if (r + 1 < ROWS)
            next = source.read(r + 1);
        float filtered[WIDE] = {};
        if (OUTER)
            filter_row(filtered, along_x, row);
#pragma unroll
        for (int i = 0; i < PATCH_Y; i++) {
            const int first = PHASE_Y + i * DOWN_Y, ky = r * UP_Y - first;
            if (ky >= 0 && ky < TAPS_Y) {
                if (!OUTER)
                    filter_row(sums[i], taps[ky], row);
#pragma unroll
                for (int k = 0; k < WIDE && OUTER; k++)
                    sums[i][k] += along_y[ky % 4] * filtered[k];
            }
            if (r != (first + TAPS_Y - 1) / UP_Y)
                continue; // another row follows
#pragma unroll
            for (int j = 0; j < PATCH_X; j += STORE) {
                float values[STORE * LANES];
#pragma unroll
                for (int k = 0; k < STORE * LANES; k++)
                    values[k] = sums[i][j * LANES + k];
                Packed<TYPE, STORE * LANES> packed;
                packed.write(values);
                store<TYPE, STORE * LANES>(
                    to + (long long)out_line * i + (long long)j * channels, packed,
                    out_y + i < out_height && out_x + j < out_width);
            }
        }
    }
}
