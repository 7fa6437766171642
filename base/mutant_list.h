// SPDX-License-Identifier: Apache-2.0
// The planted bugs: name, the section of the design that the rule stands in, the rule that is left out.
#ifndef PAWL_BASE_MUTANT_LIST_H
#define PAWL_BASE_MUTANT_LIST_H

// clang-format off
#define PAWL_MUTANT_LIST(X)                                                                        \
    X(successor_first, "3.1", "a file has at most one unsealed chunk")                             \
    X(crc_unchecked_primary, "3.1", "the primary checks the crc of what landed")                   \
    X(crc_unchecked_secondary, "3.1", "a secondary checks the crc of what landed")                 \
    X(crc_unchecked_level, "3.1", "a fetched record's crc is checked")                             \
    X(dedupe_skipped, "3.1", "a sequence that is there is answered with its offset")               \
    X(id_reuse_unchecked, "3.1", "a repeated id with other bytes is ID_REUSED")                    \
    X(inflight_answered, "3.1", "a repeat of a record in flight joins it")                         \
    X(gap_taken, "3.1", "a sequence that is too early is refused")                                 \
    X(slot_reused, "3.1", "on a timeout the endpoint is destroyed before a slot is used again") \
    X(stored_unchecked, "3.1", "the crc is checked again once the write is complete") \
    X(window_reused, "3.1", "each peer's window has its own remote key") \
    X(prepare_hole_filled, "3.1", "a replica takes records in index order")                        \
    X(older_prepare_taken, "3.1", "a replica refuses an older version than it has promised")       \
    X(prepared_before_durable, "3.1", "record and payload are durable before PREPARED")            \
    X(durable_out_of_order, "3.1", "PREPARED(index) speaks of all records before it too")          \
    X(commit_without_one, "3.1", "committed is what every replica of the set has")                 \
    X(persisted_before_flush, "3.1", "a finished flush is an event; nothing is durable before it")   \
    X(flush_error_ignored, "4", "what a failed flush covered is not trusted again")                \
    X(primary_truncates, "3.1", "a primary never truncates")                                       \
    X(version_not_logged, "3.2", "the new version is in the log before anybody hears of it")       \
    X(answered_before_log, "3.2", "the master answers and commands only what is in its log")       \
    X(version_not_raised, "3.2", "a version never uses an index twice: every grant has a new one") \
    X(older_command_taken, "3.2", "commands of an older version are refused") \
    X(older_term_taken, "3.2", "commands of an older term are refused") \
    X(empty_replica_answers, "3.2", "no such chunk is no answer to a fence") \
    X(commit_heard_ignored, "3.2", "the master never settles below the highest commit index it heard") \
    X(restart_keeps_lease, "3.2", "a restart voids a lease; only the same incarnation renews")     \
    X(fence_not_durable, "3.2", "a fence persists the promise before it answers")                  \
    X(fence_not_drained, "3.2", "a fence drains what is being written before it answers")          \
    X(prepared_after_fence, "3.2", "no PREPARED of an older version after the answer to a fence")   \
    X(shortest_wins, "3.2", "the longest log wins")                                                \
    X(alive_not_awaited, "3.2", "the master waits for every member that it believes alive")        \
    X(grant_not_level, "3.2", "a set is granted again only when all of its members are level")     \
    X(sealed_set_not_level, "3.2", "who does not get level leaves the set")                        \
    X(table_skipped, "3.2", "N+1 is opened with N's producer table")                               \
    X(ready_before_all, "3.2", "N+1 takes nothing until all of its replicas hold the table")       \
    X(base_offset_wrong, "3.2", "N+1 begins where N was sealed")                                   \
    X(seal_not_cut, "3.2", "SEALED(length) truncates a longer replica")                            \
    X(reads_uncommitted, "3.2", "a longer replica serves nothing that is not committed")           \
    X(inherited_not_asked, "3.3", "a retry goes to the tail: its table decides")                   \
    X(starts_anywhere, "3.3", "an unknown producer starts at its first sequence")                  \
    X(epoch_unchecked, "3.3", "older epochs are refused everywhere")                               \
    X(epoch_not_committed, "3.3", "opening a named producer commits an epoch record")              \
    X(unknown_is_failed, "3.3", "an append whose deadline passes is UNKNOWN, not failed")          \
    X(unknown_sequence_reused, "3.3", "UNKNOWN is resolved before the producer's next sequence")   \
    X(expect_renumbers, "3.3", "a record keeps its sequence")                                      \
    X(retry_renumbers, "3.3", "a retry keeps its sequence")                                        \
    X(fence_is_refusal, "3.3", "a fenced append may be in the file")                               \
    X(crc_unchecked_copy, "3.5", "a copied record's crc is checked") \
    X(half_copy_registered, "3.5", "a copy is a replica when its seal is durable, not before") \
    X(last_copy_dropped, "5", "surplus replicas go, never the last good copy") \
    X(drop_older_taken, "3.2", "older commands are refused: DROP")                                 \
    X(held_without_one, "3.3", "a weaker acknowledgement waits for the memory of every replica") \
    X(retry_answered_weaker, "3.3", "an answer to a retry meets the level of the retry") \
    X(replicated_settled_lower, "3.3", "what may have been acknowledged from memory is not left out") \
    X(loss_not_told, "3.3", "a producer is told of acknowledged records that were lost") \
    X(few_hold_settled, "3.2", "what fewer than the minimum hold is left out when all have answered") \
    X(command_order_ignored, "3.2", "older commands are refused: DROP, COPY of a version that was here before") \
    X(live_entries_dropped, "3.3", "entries go only for sessions that have ended") \
    X(session_end_unlogged, "3.3", "a session's end is in the master's log before its entries go") \
    X(ended_session_taken, "3.3", "a producer of an ended session does not start anew") \
    X(call_carried_out_again, "3.5", "a call that changes names is carried out once") \
    X(write_offset_unchecked, "3.4", "a repeated id with another offset is ID_REUSED") \
    X(write_seen_early, "3.4", "readers never see an uncommitted write") \
    X(write_log_left_out, "3.4", "a read shows every committed write of the chunks that the map names") \
    X(write_doubt_ignored, "3.4", "a server that can't know what is committed does not answer for all") \
    X(write_set_any, "3.4", "a write log stands only where what it is about is whole") \
    X(written_version_kept, "3.5", "the version rises before a write lease is granted") \
    X(copy_beside_writes, "3.5", "chunk copies run only without a write lease") \
    X(drop_before_log, "3.5", "deletes go out only after the log has them")
// clang-format on

#endif
