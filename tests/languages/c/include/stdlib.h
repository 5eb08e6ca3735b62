// What the bindings use of a C library; the policy has it.
#pragma once
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

void *malloc(size_t size);
void *realloc(void *old, size_t size);
void free(void *memory);
void abort(void) __attribute__((noreturn));
#ifdef __cplusplus
}
#endif
