/* SPDX-License-Identifier: MIT */
/* The columns of a segment's status, which `list` and `stat` have in common. */
#pragma once

#include "table.h"

enum segment_column {
    SEG_NAME, SEG_KEY, SEG_SHMID, SEG_OWNER, SEG_UID, SEG_GROUP, SEG_GID, SEG_CUSER, SEG_CUID,
    SEG_CGROUP, SEG_CGID, SEG_PERMS, SEG_MODE, SEG_SEQ, SEG_SIZE, SEG_MEMORY, SEG_PAGES,
    SEG_NATTCH, SEG_STATUS, SEG_ATIME, SEG_DTIME, SEG_CTIME, SEG_CPID, SEG_LPID, SEG_BROKERED,
    SEG_INSTANCE, SEG_CREATED, SEG_CREATOR, SEG_CREATORPID, SEG_LEASES, SEG_PINNED, SEG_LIFETIME,
    SEG_TTL, SEG_LINGER, SEG_EXPIRES, SEG_DECLARED, SEG_KIND, SEG_RING, SEG_STATE, SEG_MAXMESSAGE,
    SEG_MESSAGES, SEG_TAG, SEG_TYPEVERSION, SEG_READERS, SEG_WRITERS, SEG_SENT, SEG_LOST, SEG_COUNT
};

/* Rows that differ in what is shown by default only. */
#define SEGMENT_COLUMNS(basic, all) {                                                             \
    [SEG_NAME] = {"NAME", COLUMN_TEXT, basic, "full name"},                                       \
    [SEG_KEY] = {"KEY", COLUMN_TEXT, basic, "System V key"},                                      \
    [SEG_SHMID] = {"SHMID", COLUMN_NUMBER, basic, "identifier"},                                  \
    [SEG_OWNER] = {"OWNER", COLUMN_TEXT, basic, "owner (shm_perm.uid)"},                          \
    [SEG_UID] = {"UID", COLUMN_NUMBER, false, "owner, as a number"},                              \
    [SEG_GROUP] = {"GROUP", COLUMN_TEXT, basic, "group (shm_perm.gid)"},                          \
    [SEG_GID] = {"GID", COLUMN_NUMBER, false, "group, as a number"},                              \
    [SEG_CUSER] = {"CUSER", COLUMN_TEXT, all, "creator (shm_perm.cuid): who runs shmd"},          \
    [SEG_CUID] = {"CUID", COLUMN_NUMBER, false, "creator, as a number"},                          \
    [SEG_CGROUP] = {"CGROUP", COLUMN_TEXT, all, "creator's group (shm_perm.cgid)"},               \
    [SEG_CGID] = {"CGID", COLUMN_NUMBER, false, "creator's group, as a number"},                  \
    [SEG_PERMS] = {"PERMS", COLUMN_TEXT, basic, "permissions"},                                   \
    [SEG_MODE] = {"MODE", COLUMN_TEXT, all, "permissions in octal"},                              \
    [SEG_SEQ] = {"SEQ", COLUMN_NUMBER, all, "sequence number of the identifier"},                 \
    [SEG_SIZE] = {"SIZE", COLUMN_SIZE, basic, "size asked for at creation"},                      \
    [SEG_MEMORY] = {"MEMORY", COLUMN_SIZE, all, "size in memory: whole pages"},                   \
    [SEG_PAGES] = {"PAGES", COLUMN_NUMBER, all, "pages in memory"},                               \
    [SEG_NATTCH] = {"NATTCH", COLUMN_NUMBER, basic, "attachments, shmd's own among them"},        \
    [SEG_STATUS] = {"STATUS", COLUMN_TEXT, basic, "dest: goes with the last attachment; locked"}, \
    [SEG_ATIME] = {"ATIME", COLUMN_TEXT, all, "last attach (shmat)"},                             \
    [SEG_DTIME] = {"DTIME", COLUMN_TEXT, all, "last detach (shmdt)"},                             \
    [SEG_CTIME] = {"CTIME", COLUMN_TEXT, all, "creation or last change (IPC_SET)"},               \
    [SEG_CPID] = {"CPID", COLUMN_NUMBER, all, "process that created it: shmd"},                   \
    [SEG_LPID] = {"LPID", COLUMN_NUMBER, all, "process that attached or detached last"},          \
    [SEG_BROKERED] = {"BROKERED", COLUMN_TEXT, all, "yes, no or registry (shmd's own)"},          \
    [SEG_INSTANCE] = {"INSTANCE", COLUMN_NUMBER, all, "the broker's number, never used twice"},   \
    [SEG_CREATED] = {"CREATED", COLUMN_TEXT, all, "creation, as the broker knows it"},            \
    [SEG_CREATOR] = {"CREATOR", COLUMN_TEXT, all, "user who asked the broker for it"},            \
    [SEG_CREATORPID] = {"CREATORPID", COLUMN_NUMBER, all, "process that asked the broker for it"},\
    [SEG_LEASES] = {"LEASES", COLUMN_NUMBER, all, "attachments announced to the broker"},         \
    [SEG_PINNED] = {"PINNED", COLUMN_BOOL, all, "is one of NATTCH shmd's own?"},                  \
    [SEG_LIFETIME] = {"LIFETIME", COLUMN_TEXT, all, "persistent, ephemeral or ttl"},              \
    [SEG_TTL] = {"TTL", COLUMN_NUMBER, all, "seconds unused after which it is removed"},          \
    [SEG_LINGER] = {"LINGER", COLUMN_NUMBER, all, "seconds that it outlives its last lease"},     \
    [SEG_EXPIRES] = {"EXPIRES", COLUMN_TEXT, all, "when it is removed unless it is used"},        \
    [SEG_DECLARED] = {"DECLARED", COLUMN_BOOL, all, "is it in shmd.conf?"},                       \
    [SEG_KIND] = {"KIND", COLUMN_TEXT, all, "channel or segment"},                                \
    [SEG_RING] = {"RING", COLUMN_TEXT, false, "a channel's: reliable, broadcast; many, hold, one"},\
    [SEG_STATE] = {"STATE", COLUMN_TEXT, false, "vacant, writing, closed or died: its writer"},   \
    [SEG_MAXMESSAGE] = {"MAXMESSAGE", COLUMN_SIZE, false, "longest message"},                     \
    [SEG_MESSAGES] = {"MESSAGES", COLUMN_NUMBER, false, "messages of that length that it holds"}, \
    [SEG_TAG] = {"TAG", COLUMN_TEXT, false, "type of the messages"},                              \
    [SEG_TYPEVERSION] = {"TYPEVERSION", COLUMN_NUMBER, false, "version of the type"},             \
    [SEG_READERS] = {"READERS", COLUMN_NUMBER, false, "readers now"},                             \
    [SEG_WRITERS] = {"WRITERS", COLUMN_NUMBER, false, "writers now"},                             \
    [SEG_SENT] = {"SENT", COLUMN_NUMBER, false, "messages sent since it was made"},               \
    [SEG_LOST] = {"LOST", COLUMN_NUMBER, false, "messages that its readers of now have lost"},    \
    [SEG_COUNT] = {NULL, COLUMN_TEXT, false, NULL},                                               \
}

/* One line of a table that has the columns above. `brokered` is the text of that column. */
void segment_line(struct table *t, const struct shmd_status *status, const char *brokered);

/*
 * The columns of a channel, where they are printed and the channel may be read; of anything else
 * they stay empty.
 */
void segment_channel(struct table *t, struct shmd *s, const struct shmd_status *status);

/* Pages of this machine that `size` bytes take, and their bytes. */
uint64_t segment_pages(uint64_t size);
uint64_t segment_memory(uint64_t size);
