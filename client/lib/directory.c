/* SPDX-License-Identifier: MIT */
/* The registry, mapped read-only: names are looked up in it with no system call. */
#include "handle.h"

#include <string.h>

void directory_drop(struct shmd *s)
{
    if (s->directory.segment)
        shmdt(s->directory.segment);
    s->directory = (struct directory){.shmid = -1};
}

/* Where anything is odd about the registry there is no directory, and the broker is asked. */
void directory_refresh(struct shmd *s, const struct wire_welcome *w)
{
    struct directory *dir = &s->directory;
    struct shmid_ds ds;

    if (dir->segment && dir->shmid == w->registry_shmid && dir->generation == w->generation)
        return;
    directory_drop(s);
    if (w->registry_shmid < 0)
        return;

    void *segment = shmat(w->registry_shmid, NULL, SHM_RDONLY);

    if (segment == (void *)-1)
        return;
    *dir = (struct directory){
        .segment = segment, .shmid = w->registry_shmid, .generation = w->generation,
    };
    if (kernel_stat(dir->shmid, &ds) < 0 || ds.shm_segsz != w->registry_size ||
        reg_view_init(&dir->view, segment, ds.shm_segsz) < 0) {
        directory_drop(s);
        return;
    }
    /* The uid as this user namespace sees it: the broker's own word may be of another one. */
    s->daemon_uid = ds.shm_perm.cuid;
}

/* key: and id: are no legal names, so they are not found here and go to the broker. */
int directory_find(const struct shmd *s, const char *name, struct shmd_segment *ret)
{
    const struct reg_view *view = &s->directory.view;
    struct reg_found found;
    struct reg_key key;
    char full[NAME_SIZE];

    if (!s->directory.segment ||
        atomic_load_explicit(&view->header->magic, memory_order_relaxed) != REG_MAGIC ||
        name_complete(name, s->home, full) < 0)
        return -ENOENT;
    reg_key_init(&key, view->hash_seed, full);

    int r = reg_lookup(view, &key, &found);

    if (r < 0 || !ret)
        return r;
    ret->instance = found.instance;
    ret->size = found.size;
    ret->shmid = found.shmid;
    ret->key = found.key;
    ret->created = 0;
    memcpy(ret->name, full, sizeof(ret->name));
    return 0;
}
