/* SPDX-License-Identifier: MIT */
/* MESSAGE_ID of records in the journal; systemd/shmd.catalog explains each. */
#pragma once

/* a segment was made */
#define MESSAGE_CREATED "23612985297640b2918176285d4be7b8"

/* removed, as asked or at its lifetime's end */
#define MESSAGE_REMOVED "c8b43a7783ff4086b6353818e8805efc"

/* owner, group or mode */
#define MESSAGE_CHANGED "6802c5eccfb24d4086a6323c4c7f2bd5"

/* a request that permission or quota forbids */
#define MESSAGE_REFUSED "d21637af1a6d4839be3e19f292bcdba0"

/* removed behind shmd's back */
#define MESSAGE_VANISHED "7548721c3f72424782ebc304e7792a94"


