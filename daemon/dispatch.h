/* SPDX-License-Identifier: MIT */
/* From bytes to handlers and back: frames are cut, checked against the table, answered. */
#pragma once

#include "request.h"

enum dispatch_result {
    DISPATCH_DONE,  /* a whole frame was taken from the input */
    DISPATCH_MORE,  /* there is no whole frame yet */
    DISPATCH_CLOSE, /* no frame of ours: answered, and nothing more can follow */
};

/*
 * Take the first frame of in[0..len), which is aligned to 8 bytes, and answer it into `out`, which
 * has room for WIRE_FRAME_MAX bytes. *used: bytes taken; *out_len: bytes of the answer (0 where
 * none is due).
 */
enum dispatch_result dispatch(struct broker *b, struct caller *c, const uint8_t *in, size_t len,
                              size_t *used, uint8_t *out, size_t *out_len);
