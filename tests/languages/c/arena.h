// The memory that `malloc` hands out, and how much of it is gone.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define ARENA_BYTES 32768
extern uint8_t arena[ARENA_BYTES];
extern size_t used;
