/* Threads as POSIX has them; on Windows the part of it that is used here, under the same names. */
#ifndef FA_PLATFORM_H
#define FA_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>

#if defined(_WIN32)

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include <process.h>

typedef SRWLOCK pthread_mutex_t;
typedef CONDITION_VARIABLE pthread_cond_t;
#define PTHREAD_MUTEX_INITIALIZER SRWLOCK_INIT
#define PTHREAD_COND_INITIALIZER CONDITION_VARIABLE_INIT
#define pthread_mutex_init(mutex, attributes) InitializeSRWLock(mutex)
#define pthread_mutex_destroy(mutex) ((void)(mutex)) /* nothing is taken for one */
#define pthread_mutex_lock(mutex) AcquireSRWLockExclusive(mutex)
#define pthread_mutex_unlock(mutex) ReleaseSRWLockExclusive(mutex)
#define pthread_cond_wait(condition, mutex) SleepConditionVariableSRW(condition, mutex, INFINITE, 0)
#define pthread_cond_signal(condition) WakeConditionVariable(condition)
#define pthread_cond_broadcast(condition) WakeAllConditionVariable(condition)
#define sched_yield() SwitchToThread()

static inline unsigned __stdcall
fa_call_thread_function(void *function)
{
    ((void (*)(void))function)();
    return 0;
}

/* Start a thread that nobody waits for. */
static inline bool
fa_start_thread(void (*function)(void), size_t stack_bytes)
{
    const uintptr_t thread = _beginthreadex(NULL, (unsigned)stack_bytes, fa_call_thread_function, (void *)function,
                                            STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    return thread != 0 && CloseHandle((HANDLE)thread);
}

#else

#include <pthread.h>
#include <sched.h>
#include <signal.h>

static inline void *
fa_call_thread_function(void *function)
{
    ((void (*)(void))function)();
    return NULL;
}

/* Start a thread that nobody waits for. It inherits a mask without any signal: they stay with the threads of the program
   (Python's main thread). */
static inline bool
fa_start_thread(void (*function)(void), size_t stack_bytes)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    sigset_t all_signals, callers_signals;
    sigfillset(&all_signals);
    pthread_sigmask(SIG_SETMASK, &all_signals, &callers_signals);
    pthread_t thread;
    const int failure = pthread_create(&thread, &attributes, fa_call_thread_function, (void *)function);
    pthread_sigmask(SIG_SETMASK, &callers_signals, NULL);
    pthread_attr_destroy(&attributes);
    return failure == 0;
}

#endif

#endif
