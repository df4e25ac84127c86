/* NumPy's OpenBLAS on fastact's pool of threads. See blas.c. */
#ifndef FA_BLAS_H
#define FA_BLAS_H

#include <stddef.h>

/* Prepare for fa_run_blas_jobs; `slots` is how many threads OpenBLAS was built for. Any thread, any number of times. */
void fa_prepare_blas(int slots);

/* What OpenBLAS calls instead of its own threads (its openblas_threads_callback). */
void fa_run_blas_jobs(int wait, void (*run)(int slot, void *job, int data), int count, size_t size, void *jobs,
                      int data);

#endif
