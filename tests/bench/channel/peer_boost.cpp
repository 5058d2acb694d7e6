// SPDX-License-Identifier: MIT
// Boost.Interprocess message_queue.
#include "loops.h"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>

using boost::interprocess::message_queue;

namespace {

struct channel {
    struct setup setup;
    std::string name;
    message_queue *queue;
    void *buffer;
};

void *make(const struct peer *, const struct setup *s)
{
    auto *c = new channel{*s, "shmd-bench-" + std::to_string(getpid()) + "-" +
                                  std::to_string(s->number), nullptr, nullptr};

    message_queue::remove(c->name.c_str());
    try {
        c->queue = new message_queue(boost::interprocess::create_only, c->name.c_str(),
                                     s->room / s->size, s->size);
    } catch (const boost::interprocess::interprocess_exception &) {
        delete c;
        return nullptr;
    }
    message_queue::remove(c->name.c_str());
    if (posix_memalign(&c->buffer, 64, s->size + 64) != 0)
        peer_die("boost");
    std::memset(c->buffer, 0, s->size);
    return c;
}

void nothing(void *)
{
}

void no_reader(void *, int)
{
}

void *reserve(void *p)
{
    return static_cast<channel *>(p)->buffer;
}

void commit(void *p)
{
    auto *c = static_cast<channel *>(p);

    if (c->setup.mode == BLOCK)
        c->queue->send(c->buffer, c->setup.size, 0);
    else
        while (!c->queue->try_send(c->buffer, c->setup.size, 0))
            peer_wait(c->setup.mode);
}

const void *receive(void *p)
{
    auto *c = static_cast<channel *>(p);
    message_queue::size_type got;
    unsigned priority;

    if (c->setup.mode == BLOCK)
        c->queue->receive(c->buffer, c->setup.size, got, priority);
    else
        while (!c->queue->try_receive(c->buffer, c->setup.size, got, priority))
            peer_wait(c->setup.mode);
    return c->buffer;
}

void destroy(void *p)
{
    auto *c = static_cast<channel *>(p);

    delete c->queue;
    free(c->buffer);
    delete c;
}

} // namespace

LOOPS(peer_boost);

extern const struct peer peer_boost = {"boost", &peer_boost_loops, 1 << POLL | 1 << BLOCK, true, false, 1, make,
                                       nothing, no_reader, reserve, commit, receive, nothing,
                                       nothing, destroy};
