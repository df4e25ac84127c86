/* A small pool of threads that splits one job over the processor's cores. See threads.c for how it works. */
#ifndef FA_THREADS_H
#define FA_THREADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FA_MAX_THREADS = 1024 };

#if defined(_WIN32)
#define FA_EXPORTED __declspec(dllexport)
#elif defined(__GNUC__)
#define FA_EXPORTED __attribute__((visibility("default"))) /* the module is compiled with -fvisibility=hidden */
#else
#define FA_EXPORTED
#endif

/* A piece of work: handle the elements [begin, end). Called at the same time from several threads with disjoint
   ranges. It must return normally: no longjmp, no C++ exception, no pthread_exit, no cancellation. It may be called on
   a thread with all signals blocked and 2 MiB of stack. */
typedef void (*fa_task)(void *context, size_t begin, size_t end);

/* Run `task` over [0, n) in pieces whose boundaries are multiples of `grain` (except the end n), each element once.
   Returns when all is done, and what the task wrote is then visible to the caller. Uses up to fa_get_num_threads()
   threads, the caller among them; the pieces may run in any order, and nothing promises that two run at the same time
   (a task must not wait for another piece). No call for n == 0; grain 0 means 1.

   The caller runs `task(context, 0, n)` by itself when the thread setting is 1, when n <= grain, when another thread's
   job has the pool or waits for it, when called from inside a task, and when no worker can be started.

   After fork() the child has a pool of its own, whatever other threads were doing. A child forked from inside a task
   must not return from that task; it should exec or _exit. */
void fa_parallel_for(fa_task task, void *context, size_t n, size_t grain);

/* Run task(context, i, i + 1) for every i in [0, n), all at the same time, each on a thread of its own: these may wait
   for each other. The thread setting plays no part: the pool grows to n threads, the caller being one. Waits until the
   pool is free, and so must not be called from inside a task. False, and nothing done, if there cannot be so many
   threads. Here n is 1 .. FA_MAX_THREADS. */
bool fa_run_together(fa_task task, void *context, int n);

/* Whether so many elements, or rows, of so many elementary operations each are worth several threads. Waking a thread
   costs some tens of microseconds; but in a series of calls, in which workers still look for work when the next one begins, a
   sixth is enough. When all is done, by one thread or several, fa_has_run says so. */
bool fa_is_worth_threads(size_t count, size_t operations);
void fa_has_run(void);

/* How many threads a job uses at most, clamped to 1 .. FA_MAX_THREADS; from the next job on. Any thread may call these
   at any time. Until the first setting it is fa_available_cpus(). threadpoolctl finds them by their names in the module
   file (fastact/threadpool.py). */
FA_EXPORTED void fa_set_num_threads(int n);
FA_EXPORTED int fa_get_num_threads(void);

/* A clock that only goes forward. */
uint64_t fa_nanoseconds(void);

/* The number of CPUs that the calling thread may run on, at least 1. */
int fa_available_cpus(void);

#endif
