// SPDX-License-Identifier: MIT
// iceoryx, in place; no message is lost: the publisher waits for the subscriber.
#include "loops.h"

#include <cerrno>
#include <cstdlib>
#include <string>
#include <unistd.h>

#include "iceoryx_hoofs/log/logmanager.hpp"
#include "iceoryx_posh/popo/untyped_publisher.hpp"
#include "iceoryx_posh/popo/untyped_subscriber.hpp"
#include "iceoryx_posh/popo/wait_set.hpp"
#include "iceoryx_posh/runtime/posh_runtime.hpp"

namespace {

using namespace iox;

struct channel {
    struct setup setup;
    std::string name;
    popo::UntypedPublisher *publisher = nullptr;
    popo::UntypedSubscriber *subscriber = nullptr;
    popo::WaitSet<> *waitset = nullptr;
    void *out = nullptr;
    const void *in = nullptr;
};

void *make(const struct peer *, const struct setup *s)
{
    auto *c = new channel;

    c->setup = *s;
    c->name = std::to_string(getpid()) + "-" + std::to_string(s->number);
    return c;
}

void runtime()
{
    const std::string name = "shmd-bench-" + std::to_string(getpid());

    log::LogManager::GetLogManager().SetDefaultLogLevel(log::LogLevel::kError,
                                                        log::LogLevelOutput::kHideLogLevel);
    runtime::PoshRuntime::initRuntime(RuntimeName_t(cxx::TruncateToCapacity, name));
}

capro::ServiceDescription service(const channel *c)
{
    return {"shmd", "bench", capro::IdString_t(cxx::TruncateToCapacity, c->name)};
}

// The queue is to hold as much as the others' rings, but iceoryx is built for 256 messages at most; the
// daemon has ten pieces of above 1 MiB.
uint64_t queue(const channel *c)
{
    const uint64_t n = c->setup.room / c->setup.size;

    return n > 256 ? 256 : n;
}

void writer(void *p)
{
    auto *c = static_cast<channel *>(p);
    popo::PublisherOptions o;

    runtime();
    o.subscriberTooSlowPolicy = popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    c->publisher = new popo::UntypedPublisher(service(c), o);
    while (!c->publisher->hasSubscribers())
        usleep(1000);
}

void reader(void *p, int)
{
    auto *c = static_cast<channel *>(p);
    popo::SubscriberOptions o;

    runtime();
    o.queueCapacity = queue(c);
    o.queueFullPolicy = popo::QueueFullPolicy::BLOCK_PRODUCER;
    c->subscriber = new popo::UntypedSubscriber(service(c), o);
    if (c->setup.mode == BLOCK) {
        c->waitset = new popo::WaitSet<>();
        c->waitset->attachState(*c->subscriber, popo::SubscriberState::HAS_DATA)
            .or_else([](auto &) { peer_die("iceoryx waitset"); });
    }
    while (c->subscriber->getSubscriptionState() != SubscribeState::SUBSCRIBED)
        usleep(1000);
}

void *reserve(void *p)
{
    auto *c = static_cast<channel *>(p);

    c->publisher->loan(static_cast<uint32_t>(c->setup.size))
        .and_then([&](void *at) { c->out = at; })
        .or_else([](auto &) { errno = ENOMEM; peer_die("iceoryx loan"); });
    return c->out;
}

void commit(void *p)
{
    auto *c = static_cast<channel *>(p);

    c->publisher->publish(c->out);
}

const void *receive(void *p)
{
    auto *c = static_cast<channel *>(p);

    for (c->in = nullptr;;) {
        c->subscriber->take().and_then([&](const void *at) { c->in = at; });
        if (c->in)
            return c->in;
        if (c->waitset)
            c->waitset->wait();
        else
            peer_wait(c->setup.mode);
    }
}

void release(void *p)
{
    auto *c = static_cast<channel *>(p);

    c->subscriber->release(c->in);
}

void end(void *p)
{
    auto *c = static_cast<channel *>(p);

    delete c->waitset;
    delete c->subscriber;
    delete c->publisher;
}

void destroy(void *p)
{
    delete static_cast<channel *>(p);
}

} // namespace

LOOPS(peer_iceoryx);

extern const struct peer peer_iceoryx = {"iceoryx", &peer_iceoryx_loops, 1 << POLL | 1 << BLOCK, true, false, 1, make,
                                         writer, reader, reserve, commit, receive, release, end,
                                         destroy};
