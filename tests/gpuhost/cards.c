/* cards.so: gives QEMU's own PCI devices the PCI identity of real GPUs.
 *
 * Preloaded (LD_PRELOAD) into the QEMU that plays the GPU host. It registers device
 * types whose parent is "bochs-display" (one prefetchable memory BAR, one MMIO BAR, a
 * PCIe capability, no DMA), "intel-hda" or another, and rewrites the ids in their class.
 * /sys, libvirt's node devices and the guest then all see e.g. 10de:1e30 class 0300.
 *
 * It needs no QEMU headers: type_register_static is exported by QEMU, TypeInfo has kept
 * its layout since 2013, and the id fields of PCIDeviceClass are found by value.
 *
 * cc -shared -fPIC -O1 -o cards.so cards.c memory_maps.c -ldl
 */
#define _GNU_SOURCE
#include "memory_maps.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name, *parent;
    size_t instance_size, instance_align;
    void *instance_init, *instance_post_init, *instance_finalize;
    _Bool abstract;
    size_t class_size;
    void (*class_init)(void *klass, void *data);
    void *class_base_init;
    void *class_data;
    void *interfaces;
} TypeInfo;

typedef struct {
    const char *name, *parent;
    uint16_t parent_vendor, parent_device; /* what to look for in the parent's class */
    uint16_t vendor, device, class_id, subsystem_vendor, subsystem_device;
    uint8_t revision;
} Card;

/* Ids from the PCI ID repository; machine.py lists the same names. */
static Card cards[] = {
    {"gpu-rtx6000", "bochs-display", 0x1234, 0x1111,
     0x10de, 0x1e30, 0x0300, 0x10de, 0x12ba, 0xa1},
    {"gpu-l40s", "bochs-display", 0x1234, 0x1111,
     0x10de, 0x26b9, 0x0302, 0x10de, 0x1851, 0xa1},
    {"gpu-h100", "bochs-display", 0x1234, 0x1111,
     0x10de, 0x2331, 0x0302, 0x10de, 0x1626, 0xa1},
    /* in no host, only for check.elf by itself: any size in a 64-bit BAR; no memory */
    {"gpu-wide", "ivshmem-plain", 0x1af4, 0x1110,
     0x10de, 0x2331, 0x0302, 0x10de, 0x1626, 0xa1},
    {"gpu-bare", "pci-serial", 0x1b36, 0x0002,
     0x10de, 0x2331, 0x0302, 0x10de, 0x1626, 0xa1},
    /* no card: the VGA of a server's management controller (ASPEED) */
    {"bmc-vga", "bochs-display", 0x1234, 0x1111,
     0x1a03, 0x2000, 0x0300, 0x1a03, 0x2000, 0x41},
    {"audio-rtx6000", "intel-hda", 0x8086, 0x2668,
     0x10de, 0x10f7, 0x0403, 0x10de, 0x12ba, 0xa1},
};

/* PCIDeviceClass holds, in this order: u16 vendor_id, u16 device_id, u8 revision,
 * u16 class_id, u16 subsystem_vendor_id, u16 subsystem_id. A child's class starts as a
 * copy of its parent's. */
static void set_identity(void *klass, void *data) {
    Card *card = data;
    uint16_t *field = klass;
    for (int i = 0; i < 2048; i++) {
        if (field[i] != card->parent_vendor || field[i + 1] != card->parent_device)
            continue;
        field[i] = card->vendor;
        field[i + 1] = card->device;
        *(uint8_t *)&field[i + 2] = card->revision;
        field[i + 3] = card->class_id;
        field[i + 4] = card->subsystem_vendor;
        field[i + 5] = card->subsystem_device;
        return;
    }
    fprintf(stderr, "cards.so: no PCI ids in the class of %s\n", card->parent);
    abort();
}

/* A bochs-display that was unplugged is never freed (QEMU 7.2), so its memory block keeps
 * its name, and QEMU aborts when a card is put back into the same port. So each new card
 * first takes the names from those that are unplugged ("not realized" any more). */
enum { MAX_CARDS = 64 };
static void *instances[MAX_CARDS];
static void *(*resolve_component)(void *object, const char *name);
static _Bool (*property_get_bool)(void *object, const char *name, void *error);
static void (*unregister_ram)(void *memory_region, void *device);

static void on_new_card(void *object) {
    repair_memory_maps();
    int free_place = -1;
    for (int i = 0; i < MAX_CARDS; i++) {
        void *other = instances[i];
        if (other && !property_get_bool(other, "realized", NULL)) {
            void *memory = resolve_component(other, "bochs-display-vram[0]");
            if (memory)
                unregister_ram(memory, other);
            instances[i] = other = NULL;
        }
        if (!other)
            free_place = i;
    }
    if (free_place >= 0)
        instances[free_place] = object;
}

static void on_freed_card(void *object) {
    for (int i = 0; i < MAX_CARDS; i++)
        if (instances[i] == object)
            instances[i] = NULL;
}

__attribute__((constructor)) static void register_cards(void) {
    void *(*type_register_static)(const TypeInfo *) =
        dlsym(RTLD_DEFAULT, "type_register_static");
    if (!type_register_static)
        return; /* preloaded into something that is not QEMU, e.g. its "sh -c" */
    resolve_component = dlsym(RTLD_DEFAULT, "object_resolve_path_component");
    property_get_bool = dlsym(RTLD_DEFAULT, "object_property_get_bool");
    unregister_ram = dlsym(RTLD_DEFAULT, "vmstate_unregister_ram");
    _Bool can_replug = resolve_component && property_get_bool && unregister_ram;
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        TypeInfo *type = calloc(1, sizeof *type); /* QEMU keeps the pointer */
        type->name = cards[i].name;
        type->parent = cards[i].parent;
        type->class_init = set_identity;
        type->class_data = &cards[i];
        if (can_replug && strcmp(cards[i].parent, "bochs-display") == 0) {
            type->instance_init = on_new_card;
            type->instance_finalize = on_freed_card;
        }
        type_register_static(type);
    }
}
