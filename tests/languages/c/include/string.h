// What the bindings use of a C library; the policy has it.
#pragma once
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length);
int memcmp(const void *left, const void *right, size_t length);
size_t strlen(const char *text);
