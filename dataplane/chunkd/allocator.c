// SPDX-License-Identifier: Apache-2.0
// What jemalloc is told in pawl-chunkd. It reads this name when the program starts; see jemalloc(3), "TUNING".
//
// The tables of records grow by some 150 bytes with each record and are touched once: with small pages
// every 25th small record is a page fault (28 us in one virtual machine), with huge pages every 14,000th.
const char *malloc_conf __attribute__((visibility("default"))) = "thp:always";
