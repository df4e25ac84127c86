/* Calls the loops of csrc/ as NumPy does, for a process that writes requests and reads results: tests/arm.py.
   A request is the struct below and the operands' memory; the answer is the outputs' memory, and the end of the input
   ends the driver. */
#include "fastact.h"
#include "threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ELEMENTWISE, PARAMETER_BACKWARD, ROWS };

typedef struct {
    char name[64];                          /* of an elementwise kernel, */
    int32_t kernel_type;                    /* and its type */
    int32_t function, from_output, reduces; /* of a row function */
    int32_t loop, input_count, operand_count;
    char types[12];                         /* of the operands */
    int64_t dimensions[2];
    int64_t steps[2 * FA_MAX_OPERANDS];
    int64_t sizes[FA_MAX_OPERANDS];         /* bytes of the operands */
} request;

static void
fail(const char *what)
{
    fprintf(stderr, "driver: %s\n", what);
    exit(1);
}

static fa_kernel *
find_kernel(const request *r)
{
    for (int i = 0; i < fa_kernel_count; i++)
        if (strcmp(fa_kernels[i].name, r->name) == 0 && fa_kernels[i].type == r->kernel_type)
            return fa_kernels + i;
    fail(r->name);
    return NULL;
}

static void
run(const request *r, char **arrays)
{
    ptrdiff_t dimensions[2], steps[2 * FA_MAX_OPERANDS];
    for (int i = 0; i < 2; i++)
        dimensions[i] = (ptrdiff_t)r->dimensions[i];
    for (int i = 0; i < 2 * FA_MAX_OPERANDS; i++)
        steps[i] = (ptrdiff_t)r->steps[i];
    if (r->loop != ROWS) {
        fa_loop loop = {.kernel = find_kernel(r), .backend = FA_BACKEND_C};
        memcpy(loop.types, r->types, sizeof loop.types);
        (r->loop == ELEMENTWISE ? fa_elementwise : fa_parameter_backward)(arrays, dimensions, steps, &loop);
        return;
    }
    fa_row_loop loop = {
        .function = r->function,
        .input_count = r->input_count,
        .from_output = r->from_output,
        .reduces = r->reduces,
        .type = r->types[0],
    };
    fa_rows(arrays, dimensions, steps, &loop);
}

int
main(int argc, char **argv)
{
    request r;
    if (argc != 3)
        fail("arguments: instruction set, number of threads");
    if (fa_select_isa(argv[1]) != 0)
        fail("there is no such instruction set");
    fa_set_num_threads(atoi(argv[2]));
    while (fread(&r, sizeof r, 1, stdin) == 1) {
        char *arrays[FA_MAX_OPERANDS];
        for (int k = 0; k < r.operand_count; k++) {
            const size_t size = (size_t)r.sizes[k];
            arrays[k] = malloc(size);
            if (arrays[k] == NULL || fread(arrays[k], 1, size, stdin) != size)
                fail("no memory or no data");
        }
        run(&r, arrays);
        for (int k = 0; k < r.operand_count; k++) {
            if (k >= r.input_count)
                fwrite(arrays[k], 1, (size_t)r.sizes[k], stdout);
            free(arrays[k]);
        }
        if (fflush(stdout) != 0)
            fail("nobody reads the results");
    }
    return 0;
}
