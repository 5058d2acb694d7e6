/* SPDX-License-Identifier: MIT */
/* Segments that shmd.conf declares: they are there as long as shmd serves, before anybody asks. */
#pragma once

#include "broker.h"

/* Mark the entries that the config in force declares, and only those. Before quotas are counted. */
void declared_mark(struct broker *b);

/* Make those that are not there, and give all the owner, group and mode declared. What cannot be
 * done is logged. */
void declared_make(struct broker *b);
