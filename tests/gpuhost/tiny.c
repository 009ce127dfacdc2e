/* A guest that boots from its disk in the BIOS's real mode and says what it got: the disk's
 * size, how often it booted from this disk, and what its NoCloud seed holds. Linux would need
 * two minutes for that under two emulations; this needs three seconds.
 *
 * One file: the boot sector loads the sectors after it, which are the rest. All lies in the
 * first 64 KiB; the buffers are at fixed addresses above the code.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

enum { DISK = 0x80, SEED = 0x81, COM1 = 0x3f8, SECTOR = 512, BLOCK = 2048 };
enum { COUNTER_SECTOR = 200, LONGEST_FILE = 0x3000 };
#define BLOCK_BUFFER ((u8 *)0xb000)
#define FILE_BUFFER ((u8 *)0xc000)

__asm__(".section .start,\"ax\"\n"
        ".code16\n"
        ".globl start\n"
        "start: cli\n"
        "  xorw %ax,%ax\n"
        "  movw %ax,%ds\n"
        "  movw %ax,%es\n"
        "  movw %ax,%ss\n"
        "  movw $0x7c00,%sp\n"
        "  sti\n"
        "  cld\n"
        "  movw $rest,%si\n"
        "  movb $0x42,%ah\n"
        "  int $0x13\n"
        "  jc stop\n"
        "  calll report\n"
        "stop: hlt\n"
        "  jmp stop\n"
        /* int 13h, function 42h: a packet of size, count, offset, segment, first sector */
        "rest: .byte 16,0\n"
        "  .word 16, 0x7e00, 0\n"
        "  .quad 1\n"
        "  .org 510\n"
        "  .word 0xaa55\n"
        ".text\n"
        ".code16gcc\n");

struct packet {
  u8 size, zero;
  u16 count, offset, segment;
  u32 first, first_high;
} __attribute__((packed));

static void put(char c) {
  u8 status;
  do __asm__ volatile("inb %w1,%0" : "=a"(status) : "Nd"(COM1 + 5));
  while (!(status & 0x20));
  __asm__ volatile("outb %0,%w1" : : "a"((u8)c), "Nd"(COM1));
}

static void print(const char *text) {
  while (*text) put(*text++);
}

static void print_number(u32 number) {
  if (number >= 10) print_number(number / 10);
  put('0' + number % 10);
}

static int move(u8 function, u8 drive, u32 sector, u16 count, void *buffer) {
  struct packet packet = {16, 0, count, (u16)(u32)buffer, 0, sector, 0};
  u16 ax = function << 8;
  u8 failed;
  __asm__ volatile("int $0x13; setc %1"
                   : "+a"(ax), "=qm"(failed)
                   : "d"(drive), "S"(&packet)
                   : "memory", "cc");
  return !failed;
}

static u32 sectors_of(u8 drive) {
  u8 *answer = BLOCK_BUFFER;
  u16 ax = 0x4800;
  u8 failed;
  *(u16 *)answer = 0x1a;
  __asm__ volatile("int $0x13; setc %1"
                   : "+a"(ax), "=qm"(failed)
                   : "d"(drive), "S"(answer)
                   : "memory", "cc");
  return failed ? 0 : *(u32 *)(answer + 16);
}

static void count_boots(void) {
  u32 *counter = (u32 *)FILE_BUFFER;
  if (!move(0x42, DISK, COUNTER_SECTOR, 1, counter)) return;
  ++*counter;
  int kept = move(0x43, DISK, COUNTER_SECTOR, 1, counter);
  print("TINY-BOOTS ");
  print_number(*counter);
  print(kept ? "\r\n" : " not kept\r\n");
}

static int is_name(const u8 *found, u8 length, const char *name) {
  for (; length && *name; length--)
    if (*found++ != *name++) return 0;
  return !length && !*name;
}

/* Print a file's lines, each after `mark`. */
static void print_lines(const char *mark, const u8 *text, u32 length) {
  int at_start = 1;
  while (length--) {
    if (at_start) print(mark);
    at_start = *text == '\n';
    if (at_start) put('\r');
    put(*text++);
  }
  if (!at_start) print("\r\n");
}

static int has_password(const u8 *text, u32 length) {
  static const char wanted[] = "password: $6$";
  for (u32 i = 0; i + sizeof wanted <= length; i++) {
    u32 j = 0;
    while (wanted[j] && text[i + j] == (u8)wanted[j]) j++;
    if (!wanted[j]) return 1;
  }
  return 0;
}

static void show(const u8 *name, u8 name_length, u32 block, u32 length) {
  u32 kept = length < LONGEST_FILE ? length : LONGEST_FILE;
  u16 sectors = (kept + SECTOR - 1) / SECTOR;
  if (sectors && !move(0x42, SEED, block * (BLOCK / SECTOR), sectors, FILE_BUFFER))
    return;
  if (is_name(name, name_length, "meta-data"))
    print_lines("TINY-META ", FILE_BUFFER, kept);
  else if (is_name(name, name_length, "network-config"))
    print_lines("TINY-NETWORK ", FILE_BUFFER, kept);
  else if (is_name(name, name_length, "user-data")) {
    print("TINY-USER-DATA bytes=");
    print_number(length);
    print("\r\n");
  } else if (is_name(name, name_length, "vendor-data"))
    /* the hash itself is nobody's business, and a console is kept */
    print(has_password(FILE_BUFFER, kept) ? "TINY-PASSWORD hash\r\n"
                                          : "TINY-PASSWORD none\r\n");
}

/* Walk an ISO 9660 root directory; Rock Ridge's NM entries have the names. */
static void show_seed(void) {
  u8 *block = BLOCK_BUFFER;
  if (!move(0x42, SEED, 16 * (BLOCK / SECTOR), BLOCK / SECTOR, block)) {
    print("TINY-SEED none\r\n");
    return;
  }
  u32 root = *(u32 *)(block + 156 + 2);
  if (!move(0x42, SEED, root * (BLOCK / SECTOR), BLOCK / SECTOR, block)) return;
  for (u32 at = 0; at < BLOCK && block[at]; at += block[at]) {
    u8 *record = block + at;
    for (u32 i = 33 + record[32]; i + 5 < record[0]; i++)
      if (record[i] == 'N' && record[i + 1] == 'M' && record[i + 3] == 1) {
        show(record + i + 5, record[i + 2] - 5, *(u32 *)(record + 2),
             *(u32 *)(record + 10));
        break;
      }
  }
}

void report(void) {
  print("\r\nTINY-UP sectors=");
  print_number(sectors_of(DISK));
  print("\r\n");
  count_boots();
  show_seed();
  print("TINY-DONE\r\n");
}
