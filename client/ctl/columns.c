/* SPDX-License-Identifier: MIT */
#include "columns.h"

#include <unistd.h>

#include "shmd-channel.h"

_Static_assert(SEG_COUNT < COLUMNS_MAX, "too many columns");

uint64_t segment_pages(uint64_t size)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    return size / page + (size % page != 0);
}

uint64_t segment_memory(uint64_t size)
{
    return segment_pages(size) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void kernel_part(struct table *t, const struct shmd_status *st)
{
    bool dest = st->flags & SHMD_DEST, locked = st->flags & SHMD_LOCKED;

    table_text(t, SEG_KEY, "0x%08x", (unsigned)st->segment.key);
    table_number(t, SEG_SHMID, (unsigned)st->segment.shmid);
    table_user(t, SEG_OWNER, st->uid);
    table_number(t, SEG_UID, st->uid);
    table_group(t, SEG_GROUP, st->gid);
    table_number(t, SEG_GID, st->gid);
    table_user(t, SEG_CUSER, st->cuid);
    table_number(t, SEG_CUID, st->cuid);
    table_group(t, SEG_CGROUP, st->cgid);
    table_number(t, SEG_CGID, st->cgid);
    table_mode(t, SEG_PERMS, st->mode);
    table_text(t, SEG_MODE, "%04o", st->mode);
    table_number(t, SEG_SEQ, st->seq);
    table_size(t, SEG_SIZE, st->segment.size);
    table_size(t, SEG_MEMORY, segment_memory(st->segment.size));
    table_number(t, SEG_PAGES, segment_pages(st->segment.size));
    table_number(t, SEG_NATTCH, st->nattch);
    table_text(t, SEG_STATUS, "%s%s%s", dest ? "dest" : "", dest && locked ? "," : "",
               locked ? "locked" : "");
    table_time(t, SEG_ATIME, st->atime);
    table_time(t, SEG_DTIME, st->dtime);
    table_time(t, SEG_CTIME, st->ctime);
    table_number(t, SEG_CPID, (unsigned)st->cpid);
    table_number(t, SEG_LPID, (unsigned)st->lpid);
}

static const char *lifetime_name(unsigned lifetime)
{
    static const char *const names[] = {
        [SHMD_LIFETIME_DEFAULT] = "",
        [SHMD_PERSISTENT] = "persistent",
        [SHMD_EPHEMERAL] = "ephemeral",
        [SHMD_TTL] = "ttl",
    };

    return lifetime < ARRAY_LEN(names) ? names[lifetime] : "";
}

static void lifetime_part(struct table *t, const struct shmd_status *st)
{
    table_text(t, SEG_LIFETIME, "%s", lifetime_name(st->lifetime));
    if (st->lifetime == SHMD_TTL)
        table_number(t, SEG_TTL, st->ttl);
    if (st->lifetime == SHMD_EPHEMERAL)
        table_number(t, SEG_LINGER, st->linger);
    table_time(t, SEG_EXPIRES, st->expires / 1000000000);
}

void segment_line(struct table *t, const struct shmd_status *st, const char *brokered)
{
    table_line(t);
    kernel_part(t, st);
    table_text(t, SEG_BROKERED, "%s", brokered);
    table_bool(t, SEG_PINNED, st->flags & SHMD_PINNED);
    table_text(t, SEG_KIND, "%s", st->flags & SHMD_CHANNEL ? "channel" : "segment");
    if (!*st->segment.name)
        return;
    table_text(t, SEG_NAME, "%s", st->segment.name);
    table_number(t, SEG_INSTANCE, st->segment.instance);
    table_time(t, SEG_CREATED, st->created / 1000000000);
    table_user(t, SEG_CREATOR, st->creator_uid);
    table_number(t, SEG_CREATORPID, (unsigned)st->creator_pid);
    table_number(t, SEG_LEASES, st->leases);
    table_bool(t, SEG_DECLARED, st->flags & SHMD_DECLARED);
    lifetime_part(t, st);
}

static void ring_part(struct table *t, const struct shmd_channel_status *c)
{
    static const char *const states[] = {"vacant", "writing", "closed", "died"};
    unsigned flags = c->options.flags;

    table_text(t, SEG_RING, "%s%s%s%s", flags & SHMD_BROADCAST ? "broadcast" : "reliable",
               flags & SHMD_WRITERS_MANY ? ",many" : "", flags & SHMD_HOLD ? ",hold" : "",
               flags & SHMD_ONE_READER ? ",one" : "");
    table_text(t, SEG_STATE, "%s", c->state < ARRAY_LEN(states) ? states[c->state] : "");
    table_size(t, SEG_MAXMESSAGE, c->options.max_message);
    table_number(t, SEG_MESSAGES, c->options.messages);
    table_text(t, SEG_TAG, "%s", c->options.tag);
    table_number(t, SEG_TYPEVERSION, c->options.version);
    table_number(t, SEG_READERS, (uint64_t)c->readers + c->blind);
    table_number(t, SEG_WRITERS, c->writers);
    table_number(t, SEG_SENT, c->sent);
    table_number(t, SEG_LOST, c->lost);
}

void segment_channel(struct table *t, struct shmd *s, const struct shmd_status *st)
{
    struct shmd_channel_status c;
    bool wanted = false;

    for (unsigned i = SEG_RING; i <= SEG_LOST; i++)
        wanted |= table_wants(t, i);
    if (wanted && st->flags & SHMD_CHANNEL &&
        shmd_channel_stat(s, st->segment.name, &c, NULL, NULL, t->ctl->timeout_ms) == 0)
        ring_part(t, &c);
}
