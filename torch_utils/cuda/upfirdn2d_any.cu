// Upsample, filter and downsample with any filter and factors: one thread for each output.
//
// Images are [images, height, width, channels]; NCHW is the case of one channel and N * C images.

typedef TYPE::Raw Raw;

// Return the smallest k >= 0 for which `start + k` is a multiple of `up`.
__device__ inline int first_tap(long long start, int up)
{
    return int((up - start % up) % up);
}

extern "C" __global__ void __launch_bounds__(256) KERNEL(
    Raw* y, const Raw* x, const float* f, long long size, int channels, int in_width, int in_height, int out_width,
    int out_height, int taps_x, int taps_y, int up_x, int up_y, int down_x, int down_y, int pad_x, int pad_y, int flip,
    float gain)
{
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size)
        return;
    const long long c = i % channels, out_x = i / channels % out_width;
    const long long out_y = i / channels / out_width % out_height, n = i / channels / out_width / out_height;
    const long long left = out_x * down_x - pad_x, top = out_y * down_y - pad_y; // in the upsampled image
    const int last = taps_x * taps_y - 1;
    float sum = 0;
    for (int ky = first_tap(top, up_y); ky < taps_y; ky += up_y) {
        const long long in_y = (top + ky) / up_y;
        if (in_y < 0 || in_y >= in_height)
            continue;
        const Raw* line = x + (n * in_height + in_y) * in_width * channels + c;
        for (int kx = first_tap(left, up_x); kx < taps_x; kx += up_x) {
            const long long in_x = (left + kx) / up_x;
            if (in_x < 0 || in_x >= in_width)
                continue;
            const int k = ky * taps_x + kx;
            sum += f[flip ? k : last - k] * TYPE::read(line[in_x * channels]);
        }
    }
    y[i] = TYPE::write(sum * gain);
}
