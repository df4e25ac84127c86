/* NumPy's OpenBLAS on fastact's pool of threads.

   OpenBLAS (driver/others/blas_server.c) hands its jobs to a callback, if one is set. The jobs of one matrix product
   wait for each other (driver/level3/level3_thread.c), so all of them run at once. Each is given a slot, which owns a
   scratch buffer: two calls at the same time would share buffers, hence the lock.

   OpenBLAS's own threads have the first slots, and its LU factorisation goes on using them whether a callback is set or
   not. Jobs take the last slots, so that a product on one Python thread and an LU on another do not meet. */
#include "blas.h"
#include "platform.h"
#include "threads.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { QUIET_NANOSECONDS = 10000000 };

static int slot_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held while jobs run */
static atomic_int callers;                               /* threads in fa_run_blas_jobs */
static uint64_t last_end;                                /* of jobs; under the lock */

typedef struct {
    void (*run)(int slot, void *job, int data);
    char *jobs;
    size_t size;
    int data;
} blas_call;

static void run_job(void *context, size_t begin, size_t end)
{
    const blas_call *call = context;
    (void)end; /* it is begin + 1 */
    call->run(slot_count - 1 - (int)begin, call->jobs + begin * call->size, call->data);
}

void fa_run_blas_jobs(int wait, void (*run)(int slot, void *job, int data), int count, size_t size, void *jobs,
                      int data)
{
    (void)wait; /* OpenBLAS always asks to wait until all jobs are done */
    blas_call call = {run, jobs, size, data};
    atomic_fetch_add(&callers, 1);
    pthread_mutex_lock(&lock);
    if (!fa_run_together(run_job, &call, count)) {
        /* There is no way to report it through BLAS; OpenBLAS, too, ends a process in which it cannot start threads. */
        fprintf(stderr,
                "fastact.experimental.share_threads_with_blas: a BLAS call needs %d threads at once, which cannot be "
                "started; set OPENBLAS_NUM_THREADS lower or allow the process more threads (ulimit -u)\n",
                count);
        abort();
    }
    last_end = fa_nanoseconds();
    pthread_mutex_unlock(&lock);
    atomic_fetch_sub(&callers, 1);
}

/* ---- fork and exit ---- */

#if !defined(_WIN32)
/* A product holds a lock of OpenBLAS's and reads its scratch buffers for a few instructions after the end of its jobs,
   which cannot be seen from here: they are given time, QUIET_NANOSECONDS. */

/* The child could never get the lock of OpenBLAS's that another thread's product holds. Of the handlers that run before
   a fork, the one registered last comes first: this one before OpenBLAS's, which frees the scratch buffers. The thread
   that forks holds the GIL, so no product begins meanwhile; those under way will end. */
static void lock_before_fork(void)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        if (atomic_load(&callers) == 0 && fa_nanoseconds() - last_end > QUIET_NANOSECONDS)
            return;
        pthread_mutex_unlock(&lock);
        nanosleep(&(struct timespec){.tv_nsec = QUIET_NANOSECONDS / 10}, NULL);
    }
}

static void unlock_in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void unlock_in_child(void)
{
    pthread_mutex_init(&lock, NULL);
    atomic_store(&callers, 0);
}

/* OpenBLAS's destructor frees the scratch buffers of products that daemon threads of Python still run: it waits for its
   own threads only. Functions given to atexit run before destructors. The lock is kept: other jobs wait for the end. */
static void lock_at_exit(void)
{
    pthread_mutex_lock(&lock);
    if (fa_nanoseconds() - last_end < QUIET_NANOSECONDS)
        nanosleep(&(struct timespec){.tv_nsec = QUIET_NANOSECONDS}, NULL);
}

static void register_handlers(void)
{
    pthread_atfork(lock_before_fork, unlock_in_parent, unlock_in_child);
    atexit(lock_at_exit);
}
#endif

void fa_prepare_blas(int slots)
{
#if !defined(_WIN32)
    static pthread_once_t handlers = PTHREAD_ONCE_INIT;
    pthread_once(&handlers, register_handlers);
#endif
    slot_count = slots;
}
