// SPDX-License-Identifier: Apache-2.0
// pawl-roofline: what this machine gives for an append or a read, with no file system in it.
#include "perf/roofline/roofline.h"

int main(int argc, char **argv)
{
    return roofline_main(argc, argv);
}
