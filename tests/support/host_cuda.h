// As much of CUDA C++ as the kernels use, on the host: the threads of a block take turns until they meet at a barrier.
#include <math.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __shared__ static // one block runs at a time

struct Dimensions {
    unsigned int x;
};
static Dimensions threadIdx, blockIdx, blockDim;

struct Fiber {
    ucontext_t context;
    char stack[1 << 15];
    bool started, done;
};

static Fiber fibers[256];
static ucontext_t scheduler;
static void (*body)(void*);
static void* arguments;

static void run_fiber()
{
    for (;;) {
        body(arguments);
        fibers[threadIdx.x].done = true;
        swapcontext(&fibers[threadIdx.x].context, &scheduler);
    }
}

static void __syncthreads()
{
    const unsigned int self = threadIdx.x;
    swapcontext(&fibers[self].context, &scheduler);
    threadIdx.x = self;
}

static void resume(Fiber& fiber)
{
    if (!fiber.started) {
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack;
        fiber.context.uc_stack.ss_size = sizeof(fiber.stack);
        makecontext(&fiber.context, run_fiber, 0);
        fiber.started = true;
    }
    swapcontext(&scheduler, &fiber.context);
}

// Run the blocks [first, last) of a grid.
template <class Kernel> void run_blocks(unsigned int first, unsigned int last, unsigned int threads, Kernel kernel)
{
    body = [](void* kernel) { (*static_cast<Kernel*>(kernel))(); };
    arguments = &kernel;
    blockDim.x = threads;
    for (blockIdx.x = first; blockIdx.x < last; blockIdx.x++) {
        for (Fiber& fiber : fibers)
            fiber.done = false;
        for (bool busy = true; busy;) {
            busy = false;
            for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) {
                if (!fibers[threadIdx.x].done)
                    resume(fibers[threadIdx.x]);
                busy |= !fibers[threadIdx.x].done;
            }
        }
    }
}
