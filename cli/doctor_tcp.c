// SPDX-License-Identifier: Apache-2.0
// doctor, tcp: whether the kernel's congestion control suits a network of servers.
#include <stdio.h>
#include <string.h>

#include "cli/doctor.h"

// BBR of any version sends by a clock of its own, each piece by a timer, where others send what the window takes
// (docs/operations.md, "TCP").
void doctor_tcp(const char *congestion, const struct doctor_report *report)
{
    char found[128];
    bool is_paced = strncmp(congestion, "bbr", 3) == 0;
    snprintf(found, sizeof found, "%.60s%s", congestion,
             is_paced ? ", where no route says otherwise: each packet waits for a timer" : "");
    report->finding(report->user, "tcp congestion", !is_paced, found,
                    "made for long ways: within a cluster large records over tcp are some 6 % "
                    "slower by it and take a quarter more CPU time; "
                    "`sysctl -w net.ipv4.tcp_congestion_control=cubic`, or of one network only: "
                    "`ip route change NETWORK dev DEVICE congctl cubic`");
}
