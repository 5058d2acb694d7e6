/* SPDX-License-Identifier: MIT */
/* Standard streams that were closed. */
#pragma once

/*
 * A standard stream that was closed would be given to the next socket, and data meant for people
 * would go to the broker. Open it the wrong way round instead: its use then fails as it should.
 */
void streams_occupy(void);
