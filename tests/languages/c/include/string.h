// What the bindings use of a C library; the policy has it.
#pragma once
#include <stddef.h>
#ifdef __cplusplus
#define restrict
extern "C" {
#endif

void *memcpy(void *restrict to, const void *restrict from, size_t length);
int memcmp(const void *left, const void *right, size_t length);
size_t strlen(const char *text);
void *memset(void *to, int byte, size_t length);
#ifdef __cplusplus
}
#endif
