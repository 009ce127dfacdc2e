/* Part of cards.so: repairs a race of QEMU 7.2 that kills the virtual host.
 *
 * When a BAR is switched on or off, QEMU 7.2 gives all vCPUs the new memory map at once
 * (tcg_commit), while others still hold indices into the old one: their next access goes
 * to a wrong device or to none, and QEMU ends by a segmentation fault or an assertion.
 * vfio switches BARs whenever a guest starts or ends. Since QEMU 8.1 each vCPU takes the
 * new map over on its own thread, between two blocks of code; so it is done here.
 *
 * The layouts are those of QEMU 7.2. Where they do not fit, nothing is changed.
 */
#define _GNU_SOURCE
#include "memory_maps.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct MemoryListener MemoryListener;

/* An entry of QEMU's tail queues, and their head. */
typedef struct Link Link;
struct Link {
    MemoryListener *next;
    Link *previous;
};

struct MemoryListener {
    void (*begin)(MemoryListener *);
    void (*commit)(MemoryListener *);
    void *other_callbacks[15];
    unsigned priority;
    const char *name;
    void *address_space;
    Link link, link_in_space;
};

typedef struct {
    void *cpu, *address_space, *dispatch;
    MemoryListener listener;
} CpuAddressSpace;

static void (*tcg_commit)(MemoryListener *);
static void (*run_on_cpu_later)(void *cpu, void (*work)(void *, uintptr_t), uintptr_t);

static CpuAddressSpace *space_of(MemoryListener *listener) {
    return (void *)((char *)listener - offsetof(CpuAddressSpace, listener));
}

static void commit_now(void *cpu, uintptr_t listener) {
    (void)cpu;
    tcg_commit((MemoryListener *)listener);
}

static void commit_on_own_thread(MemoryListener *listener) {
    run_on_cpu_later(space_of(listener)->cpu, commit_now, (uintptr_t)listener);
}

static _Bool is_of_tcg(MemoryListener *listener) {
    return listener->name && strcmp(listener->name, "tcg") == 0
        && space_of(listener)->address_space == listener->address_space;
}

/* The head's last entry is the one without a next. */
static MemoryListener *first_of_queue(Link *entry) {
    while (entry->previous->next)
        entry = entry->previous;
    return entry->next;
}

void repair_memory_maps(void) {
    static MemoryListener probe = {.name = "gpuhost"};
    void (*add)(MemoryListener *, void *) =
        dlsym(RTLD_DEFAULT, "memory_listener_register");
    void (*remove)(MemoryListener *) =
        dlsym(RTLD_DEFAULT, "memory_listener_unregister");
    void *memory = dlsym(RTLD_DEFAULT, "address_space_memory");
    run_on_cpu_later = dlsym(RTLD_DEFAULT, "async_run_on_cpu");
    if (tcg_commit || !add || !remove || !memory || !run_on_cpu_later)
        return;
    add(&probe, memory); /* the only way into the queue of all listeners */
    MemoryListener *all = first_of_queue(&probe.link);
    for (MemoryListener *each = all; each; each = each->link.next) {
        if (!is_of_tcg(each))
            continue;
        tcg_commit = each->commit;
        each->commit = commit_on_own_thread;
    }
    remove(&probe);
}
