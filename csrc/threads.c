/* The thread pool: one job at a time, described by one static record, and one atomic word that says who may read it.

   `state` holds the seats still free in the job and the workers now inside it. A worker enters by a compare-exchange
   that takes a seat and adds itself to the workers inside; only then does it read the job. The caller closes the job by
   removing the free seats and returns once nobody is inside. So a worker that wakes late finds no seat (or sits down in
   a later job, which is just as good), and never sees a job whose caller has returned. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* CPU_ALLOC, and POSIX under -std=c11 */
#endif
#include "threads.h"
#include "platform.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#if !defined(_WIN32)
#include <time.h>
#include <unistd.h>
#endif

enum {
    FA_WORKER_STACK_BYTES = 2 << 20, /* tasks keep tens of KB of blocks on the stack; macOS and musl default to less */
    CHUNKS_PER_THREAD = 6,           /* so that a thread that starts late or is descheduled does not hold up the job */
    SPIN_NANOSECONDS = 20000,        /* about what a sleep and wake-up costs; longer would steal the core from BLAS */
    OPERATIONS_WORTH_WAKING = 3 << 20, /* about 30 us of one core, of rows 50 */
    OPERATIONS_WORTH_THREADS = 1 << 19,
    SERIES_NANOSECONDS = SPIN_NANOSECONDS, /* from the end of a call to the next one */
    CACHE_LINE = 128                 /* Apple's; elsewhere 64, and x86 prefetches lines in pairs */
};

#define WORKERS_INSIDE 0x0000FFFFu
#define FREE_SEATS 0x7FFF0000u
#define ONE_SEAT 0x00010000u
#define CALLER_SLEEPS 0x80000000u
_Static_assert(FA_MAX_THREADS <= FREE_SEATS / ONE_SEAT && FA_MAX_THREADS <= WORKERS_INSIDE, "the fields must hold it");

static struct {
    /* The words that several threads hammer, each on a cache line of its own. All accesses to the state are sequentially
       consistent: going to sleep relies on it (see wait_for_seat and wake_workers). */
    _Alignas(CACHE_LINE) atomic_uint state;
    struct {
        _Alignas(CACHE_LINE) atomic_size_t next_chunk;
        size_t end;
    } shares[FA_MAX_THREADS];

    /* The job: written by the caller while there are no seats and nobody inside. */
    _Alignas(CACHE_LINE) fa_task task;
    void *context;
    size_t n, chunk_size, share_count;

    int worker_count;    /* workers started; belongs to whoever holds `busy` */
    atomic_int sleepers; /* workers in cond_wait or about to be; changed under `lock` */
    pthread_mutex_t lock;
    pthread_cond_t job_posted, job_finished;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .job_posted = PTHREAD_COND_INITIALIZER,
          .job_finished = PTHREAD_COND_INITIALIZER};

static atomic_flag busy = ATOMIC_FLAG_INIT; /* held from before a job is posted until it is finished */
static atomic_int callers;                  /* threads in fa_parallel_for with work for several */
static atomic_int together_calls;           /* in fa_run_together: other jobs leave the pool to them */
static atomic_int thread_setting;           /* 0: not yet set */
static atomic_bool runs;                    /* since fa_is_worth_threads, until fa_has_run, if it is not too little */
static _Atomic uint64_t last_end;           /* when that was, in nanoseconds */
static atomic_bool creation_failed;         /* do not try again at each job, only after a new setting */
static atomic_uint next_place = 1;          /* of the next worker */
static _Thread_local unsigned place;        /* among the threads of a job; 0 for a caller */
static _Thread_local bool inside_task;

/* ---- waiting ---- */

static void pause_a_moment(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

uint64_t fa_nanoseconds(void)
{
#if defined(_WIN32)
    LARGE_INTEGER ticks, ticks_per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&ticks_per_second);
    const uint64_t n = (uint64_t)ticks.QuadPart, second = (uint64_t)ticks_per_second.QuadPart;
    return n / second * 1000000000u + n % second * 1000000000u / second;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

/* Pause, and say whether to look again rather than sleep. `*deadline` starts as 0. */
static bool may_spin(uint64_t *deadline)
{
    for (int i = 0; i < 4; i++)
        pause_a_moment();
    uint64_t now = fa_nanoseconds();
    if (*deadline == 0)
        *deadline = now + SPIN_NANOSECONDS;
    return now < *deadline;
}

/* ---- what every thread of a job does ---- */

/* A thread begins with a share of its own, mostly the same in jobs of as many threads, for its cache may still hold what
   it has read or written there; then it helps with those of others. */
static void run_chunks(void)
{
    const size_t shares = pool.share_count;
    for (size_t k = 0, share = place % shares; k < shares; k++, share = share + 1 == shares ? 0 : share + 1) {
        /* A share that is done is only looked at: many threads may come by. */
        while (atomic_load_explicit(&pool.shares[share].next_chunk, memory_order_relaxed) < pool.shares[share].end) {
            size_t chunk = atomic_fetch_add(&pool.shares[share].next_chunk, 1);
            if (chunk >= pool.shares[share].end)
                break;
            size_t begin = chunk * pool.chunk_size;
            bool last = pool.n - begin <= pool.chunk_size;
            pool.task(pool.context, begin, last ? pool.n : begin + pool.chunk_size);
        }
    }
}

/* ---- the worker's side ---- */

static bool take_seat(void)
{
    unsigned state = atomic_load(&pool.state);
    while (state & FREE_SEATS)
        if (atomic_compare_exchange_weak(&pool.state, &state, state - ONE_SEAT + 1))
            return true;
    return false;
}

static void wait_for_seat(void)
{
    uint64_t deadline = 0;
    do {
        if (take_seat())
            return;
    } while (may_spin(&deadline));

    /* First announce the sleep, then look once more; the caller first posts the job, then looks for sleepers. One of
       the two sees the other, so no wake-up is lost. */
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.sleepers, 1);
    while (!take_seat())
        pthread_cond_wait(&pool.job_posted, &pool.lock);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.lock);
}

static void leave_job(void)
{
    atomic_fetch_and(&pool.state, ~FREE_SEATS); /* no chunk is left: nobody needs to come in */
    unsigned before = atomic_fetch_sub(&pool.state, 1);
    /* From here on the job may be gone and another one posted: only the pool's own lock and condition are touched. */
    if ((before & CALLER_SLEEPS) && (before & WORKERS_INSIDE) == 1) {
        pthread_mutex_lock(&pool.lock); /* so that the caller is really in cond_wait, not on its way there */
        pthread_mutex_unlock(&pool.lock);
        pthread_cond_signal(&pool.job_finished);
    }
}

static void work_forever(void)
{
    inside_task = true;
    place = atomic_fetch_add(&next_place, 1);
    for (;;) {
        wait_for_seat();
        run_chunks();
        leave_job();
    }
}

/* ---- the caller's side ---- */

#if defined(_WIN32)
static void handle_forks(void) {} /* there are none */
#else
/* The child of a fork has none of the workers, and copies of the pool's variables from the middle of anything. */
static void reset_in_child(void)
{
    atomic_store(&pool.state, 0);
    atomic_store(&pool.sleepers, 0);
    pool.worker_count = 0;
    atomic_store(&next_place, 1);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.job_posted, NULL);
    pthread_cond_init(&pool.job_finished, NULL);
    atomic_store(&creation_failed, false);
    atomic_store(&callers, 0);
    atomic_store(&together_calls, 0);
    atomic_flag_clear(&busy);
}

static void register_fork_handler(void)
{
    pthread_atfork(NULL, NULL, reset_in_child);
}

static void handle_forks(void)
{
    static pthread_once_t fork_handler = PTHREAD_ONCE_INIT;
    pthread_once(&fork_handler, register_fork_handler);
}
#endif

/* Start workers until there are `wanted`, or as many as can be had. */
static void start_workers(int wanted)
{
    while (pool.worker_count < wanted && !atomic_load(&creation_failed)) {
        if (fa_start_thread(work_forever, FA_WORKER_STACK_BYTES))
            pool.worker_count++;
        else
            atomic_store(&creation_failed, true);
    }
}

/* Wake as many sleepers as it takes to have `wanted` workers awake. Those awake find the seats by themselves: they
   look before they sleep. */
static void wake_workers(int wanted)
{
    int sleepers = atomic_load(&pool.sleepers);
    int to_wake = wanted - (pool.worker_count - sleepers);
    if (sleepers == 0 || to_wake <= 0)
        return;
    pthread_mutex_lock(&pool.lock); /* so that the sleepers counted are really in cond_wait */
    pthread_mutex_unlock(&pool.lock);
    if (to_wake >= sleepers)
        pthread_cond_broadcast(&pool.job_posted);
    else
        for (int i = 0; i < to_wake; i++)
            pthread_cond_signal(&pool.job_posted);
}

/* Let nobody in any more, and wait for those inside. */
static void close_job(void)
{
    atomic_fetch_and(&pool.state, ~FREE_SEATS);
    uint64_t deadline = 0;
    do {
        if ((atomic_load(&pool.state) & WORKERS_INSIDE) == 0)
            return;
    } while (may_spin(&deadline));

    pthread_mutex_lock(&pool.lock);
    atomic_fetch_or(&pool.state, CALLER_SLEEPS); /* the last worker to leave sees this, or has left already */
    while (atomic_load(&pool.state) & WORKERS_INSIDE)
        pthread_cond_wait(&pool.job_finished, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

/* With `busy` held and at least `helpers` workers started. */
static void run_job(fa_task task, void *context, size_t n, size_t chunk_size, size_t chunk_count, int helpers)
{
    pool.task = task;
    pool.context = context;
    pool.n = n;
    pool.chunk_size = chunk_size;
    pool.share_count = (size_t)helpers + 1;
    for (size_t share = 0; share < pool.share_count; share++) {
        const size_t first = chunk_count * share / pool.share_count;
        atomic_store_explicit(&pool.shares[share].next_chunk, first, memory_order_relaxed);
        pool.shares[share].end = chunk_count * (share + 1) / pool.share_count;
    }
    atomic_store(&pool.state, (unsigned)helpers * ONE_SEAT); /* the job is open */
    wake_workers(helpers);
    run_chunks();
    close_job();
}

/* With `busy` held. False, and nothing done, if there is nobody to help. */
static bool run_parallel(fa_task task, void *context, size_t n, size_t grain, int threads)
{
    size_t grains = n / grain + (n % grain != 0);
    size_t chunks_wanted = (size_t)threads * CHUNKS_PER_THREAD;
    size_t grains_per_chunk = grains / chunks_wanted + (grains % chunks_wanted != 0);
    size_t chunk_count = grains / grains_per_chunk + (grains % grains_per_chunk != 0);
    int helpers = chunk_count < (size_t)threads ? (int)chunk_count - 1 : threads - 1;

    start_workers(helpers);
    if (pool.worker_count == 0)
        return false;
    if (helpers > pool.worker_count)
        helpers = pool.worker_count;
    run_job(task, context, n, grains_per_chunk * grain, chunk_count, helpers);
    return true;
}

void fa_parallel_for(fa_task task, void *context, size_t n, size_t grain)
{
    if (n == 0)
        return;
    if (grain == 0)
        grain = 1;
    bool nested = inside_task, done = false;
    inside_task = true;
    int threads = nested || n <= grain ? 1 : fa_get_num_threads();
    bool shares = threads > 1;
    if (shares) {
        handle_forks();
        /* Where several threads of the program call at once, each takes the place of a worker: more threads than
           processors wait for each other. */
        threads -= atomic_fetch_add(&callers, 1);
        if (threads > 1 && atomic_load(&together_calls) == 0 && !atomic_flag_test_and_set(&busy)) {
            done = run_parallel(task, context, n, grain, threads);
            atomic_flag_clear(&busy);
        }
    }
    if (!done)
        task(context, 0, n);
    if (shares)
        atomic_fetch_sub(&callers, 1);
    inside_task = nested;
}

bool fa_is_worth_threads(size_t count, size_t operations)
{
    if (count < OPERATIONS_WORTH_THREADS / operations)
        return false;
    atomic_store_explicit(&runs, true, memory_order_relaxed);
    if (count >= OPERATIONS_WORTH_WAKING / operations)
        return true;
    return fa_nanoseconds() < atomic_load_explicit(&last_end, memory_order_relaxed) + SERIES_NANOSECONDS;
}

void fa_has_run(void)
{
    if (!atomic_load_explicit(&runs, memory_order_relaxed))
        return;
    atomic_store_explicit(&runs, false, memory_order_relaxed);
    atomic_store_explicit(&last_end, fa_nanoseconds(), memory_order_relaxed);
}

bool fa_run_together(fa_task task, void *context, int n)
{
    handle_forks();
    atomic_fetch_add(&together_calls, 1);
    while (atomic_flag_test_and_set(&busy))
        sched_yield(); /* a job of fa_parallel_for waits for nobody and will end */
    inside_task = true;
    atomic_store(&creation_failed, false); /* it must be tried again */
    start_workers(n - 1);
    /* Every worker comes: one that is awake looks for a seat before it sleeps, and all others are woken. None can take
       two pieces while pieces wait for each other. */
    bool enough = pool.worker_count >= n - 1;
    if (enough)
        run_job(task, context, (size_t)n, 1, (size_t)n, n - 1);
    inside_task = false;
    atomic_flag_clear(&busy);
    atomic_fetch_sub(&together_calls, 1);
    return enough;
}

/* ---- settings ---- */

void fa_set_num_threads(int n)
{
    atomic_store(&thread_setting, n < 1 ? 1 : n > FA_MAX_THREADS ? FA_MAX_THREADS : n);
    atomic_store(&creation_failed, false);
}

int fa_get_num_threads(void)
{
    int n = atomic_load(&thread_setting);
    if (n == 0) {
        int cpus = fa_available_cpus();
        if (cpus > FA_MAX_THREADS)
            cpus = FA_MAX_THREADS;
        /* If somebody set it meanwhile, theirs holds, and n becomes it. */
        if (atomic_compare_exchange_strong(&thread_setting, &n, cpus))
            n = cpus;
    }
    return n;
}

int fa_available_cpus(void)
{
#ifdef __linux__
    /* The kernel refuses a set smaller than the CPUs it was built for: try larger ones. */
    for (size_t capacity = CPU_SETSIZE; capacity <= 1 << 20; capacity *= 2) {
        cpu_set_t *cpus = CPU_ALLOC(capacity);
        if (cpus == NULL)
            break;
        size_t size = CPU_ALLOC_SIZE(capacity);
        int failure = sched_getaffinity(0, size, cpus) == 0 ? 0 : errno;
        int count = failure ? 0 : CPU_COUNT_S(size, cpus);
        CPU_FREE(cpus);
        if (count > 0)
            return count;
        if (failure != EINVAL)
            break;
    }
#endif
#if defined(_WIN32)
    DWORD_PTR allowed = 0, present;
    GetProcessAffinityMask(GetCurrentProcess(), &allowed, &present);
    const int count = __builtin_popcountll(allowed);
    return count < 1 ? 1 : count;
#else
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > 1 << 20 ? 1 << 20 : (int)online;
#endif
}
