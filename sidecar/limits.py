"""Every limit, with its unit and where its size comes from. The config may lower or raise those
it names.
"""

from typing import NamedTuple

# The node's log (docs/node-log.md)
RECORD_BYTES_MAX = 64 << 20  # one block; the largest Hyperliquid lines seen are 20 MB
SEGMENT_BLOCKS = 4096  # a new segment every so many blocks: about seven minutes at 100 ms
SEGMENT_BYTES = 256 << 20  # or after so many bytes
SEGMENTS_KEPT_MIN = 2  # the newest two are never deleted
SNAPSHOTS_KEPT = 2
SNAPSHOT_CHUNK_ROWS = 4096  # rows of a snapshot that are in memory at a time

# The sidecar's own checkpoints (docs/checkpoints.md)
CHECKPOINT_BLOCKS = 3_000  # from one to the next: five minutes at 100 ms; redis' `save 300 100`
CHECKPOINT_LOOK_S = 0.05  # how often the writer looks whether one is due, or written
CHECKPOINT_REST = 4  # times as long as one took to write, until the next: at most a fifth of a core
CHECKPOINT_NICE = 10  # of the writing process: the pipeline goes first
CHECKPOINT_PREFERRED_BLOCKS = 10_000  # an own one is taken before a snapshot so much newer

# Hyperliquid's files
LINE_BYTES_MAX = 64 << 20  # a line; misc events reach 20 MB at the top of the hour
READ_BYTES = 1 << 20  # one read of a growing file
HALF_LINE_QUIET_S = 5.0  # an hour's file is given up after that; buffered writes lag by up to 2.9 s

# Hyperliquid's info server
SNAPSHOT_TIMEOUT_S = 180.0  # to write an L4 snapshot: mainnet's are 160 MB and take seconds
SNAPSHOT_LOOK_S = 0.2  # how often a file that is being written is looked at
SNAPSHOT_QUIET_S = 2.0  # a file that did not grow for so long after the answer is all there is
SNAPSHOT_PROGRESS_S = 5.0  # between log lines while one is waited for
SNAPSHOT_REFUSALS_MAX = 5  # in a row at the start; a node that has just started may need a moment
SNAPSHOT_RETRY_S = 1.0  # after a refusal; doubled each time
L4_SNAPSHOTS_KEPT = 2  # files of ours
L4_INDEX_BYTES = 4 << 20  # of a snapshot, searched for coins at a time: 2 ms
INFO_FORWARD_TIMEOUT_S = 5.0  # what a client waits for the node's answer
INFO_FORWARDS_MAX = 64  # at a time; the node has better things to do
INFO_FORWARDS_PER_CONNECTION = 8  # of one WebSocket connection
INFO_ANSWER_BYTES_MAX = 4 << 20  # as much as may wait for a client; spotMeta is under 1 MB

# Comparing with the node's snapshots
VERIFY_INTERVAL_S = 600.0  # full snapshots every 10 s slow a node by over a second
VERIFY_SLICE_ORDERS = 256  # compared at a time: a quarter of a millisecond
VERIFY_WAIT_S = 60.0  # for the node's files to reach the snapshot's height, and each further one
VERIFY_POLL_S = 0.02
VERIFY_CATCH_UP_BLOCKS_MAX = 2_000  # while one coin catches up: two minutes of mainnet
VERIFY_STEPS_MAX = 1_000_000  # book steps kept for coins whose turn is to come: 200 MB

# State
RECENT_TRADES = 200  # per market, for recentTrades
CANDLES_KEPT = 5_000  # per market and interval; Hyperliquid's own
FUNDING_RATES_KEPT = 5_000  # per market: seven months of hours
FUNDING_RATES_MAX = 500  # of one answer; Hyperliquid's own
STATUSES_PER_USER = 2_000  # order statuses kept; as many as Hyperliquid's historicalOrders gives
STATUSES_KEPT = 500_000  # of all users; about 800 bytes each
FILLS_PER_USER = 10_000  # Hyperliquid's own
FILLS_KEPT = 500_000  # of all users, each side of a trade; about 600 bytes each
FUNDINGS_PER_USER = 5_000  # payments: 200 days of one market, by the hour
FUNDINGS_KEPT = 500_000  # of all users; about 200 bytes each
LEDGER_PER_USER = 2_000  # entries
LEDGER_KEPT = 200_000  # of all users

# Info requests
ORDERS_ANSWERED = 2_000  # of historicalOrders; Hyperliquid's own
FILLS_ANSWERED = 2_000  # of userFills and userFillsByTime; Hyperliquid's own
QUERY_SHARE_PER_IP = 0.1  # of a core: ten such addresses can't take more than all of it
QUERY_BURST_S = 5.0  # of processor time at once: all books of a chain of 600 coins, order by order
QUERY_RETRY_S = 1.0  # when somebody who has used that up may ask again
RANGE_ANSWERED = 500  # of other requests with a time range; Hyperliquid's own

# HTTP
REQUEST_HEAD_BYTES_MAX = 16 << 10  # nginx: 4 x 8k large buffers; h11: 16 KiB
REQUEST_HEADERS_MAX = 100  # Apache's LimitRequestFields
REQUEST_HEADER_LINE_BYTES_MAX = 4 << 10
REQUEST_HOST_BYTES_MAX = 255  # RFC 1035: a domain name
REQUEST_BODY_BYTES_MAX = 64 << 10
PROXY_HEADER_BYTES_MAX = 2 << 10  # of PROXY protocol v2, TLVs included; haproxy's own are 536

# WebSocket
MESSAGE_BYTES_MAX = 64 << 10  # inbound message, all fragments together
MESSAGE_FRAGMENTS_MAX = 64  # inbound, empty ones count (CVE-2026-48779 of `ws`)
DEFLATE_BYTES_MIN = 200  # smaller messages go out as they are
DEFLATE_LEVEL = 6  # of zlib: 13 us for 2 kB
CLOSE_REASON_BYTES_MAX = 123  # RFC 6455 section 5.5: 125 less the code

# Connections
RECV_BYTES = 16 << 10  # one recv; also the most that is read beyond what was asked for
CONNECTIONS_MAX = 10_000
DESCRIPTORS_RESERVED = 64  # for log, snapshots, listeners: connections leave them
CONNECTIONS_PER_IP = 100  # Hyperliquid's own limit
SUBSCRIPTIONS_PER_CONNECTION = 1_000  # Hyperliquid's own limit
MESSAGES_PER_MINUTE = 2_000  # inbound, per connection; Hyperliquid's own limit per IP
CONTROL_FRAMES_PER_S = 20  # inbound pings and pongs
OUTBOX_BYTES_MAX = 4 << 20  # waiting for one client, beside snapshots
OUTBOX_AGE_MAX_S = 5.0  # of what waits for one client; looked at once a second
REQUEST_HEAD_TIMEOUT_S = 10.0
IDLE_HTTP_TIMEOUT_S = 75.0  # nginx keepalive_timeout; also without taking any of an answer
ANSWER_BYTES_PER_S_MIN = 16 << 10  # taken of a long answer, beside that time
UNREAD_ANSWERS_BYTES_PER_IP = 64 << 20  # of HTTP: eight of the largest
UNREAD_SNAPSHOTS_BYTES_PER_IP = 256 << 20  # of WebSocket, replays too: what four clients may have
PING_INTERVAL_S = 20.0
PONG_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 5.0
CLOSING_BYTES_MAX = 1 << 20  # that a client sends after our Close: what was on its way, and no more
DRAIN_TIMEOUT_S = 5.0  # shutdown
HEAR_OUT_S = 0.5  # then, for requests of the last to come in, where the socket is handed over
OPERATOR_CONNECTIONS_MAX = 16
LOOP_LAG_INTERVAL_S = 0.1
LOG_REPEATS_SHOWN = 10  # lines of one kind, then they are counted only,
LOG_REPEATS_S = 10.0  # until so long after the first of them
LOG_REPEATS_KEPT = 1000  # kinds
LAST_WORDS_S = 1.0  # for room to print why a process ends; before that nothing waits for it
TRACED_ORDERS_PER_S = 50  # whatever their senders wish
TRACING_EXPORT_TIMEOUT_S = 5  # of one batch
TRACING_FLUSH_S = 2.0  # at the end
TRACING_COMPLAIN_S = 60.0  # from one line about lost traces to the next
NOTIFY_STATUS_S = 5.0  # from one status for the service manager to the next
NOTIFY_UNSAID_MAX = 8  # messages that wait for room at the service manager's
NOTIFY_EXTEND_S = 60.0  # for the next step of a start or an end, beyond the unit's own time for it
WITHHELD_TOLD_MAX = 20  # markets that /readyz names, with reasons of up to some hundred bytes
REFUSED_LINGER_S = 0.5  # for the request of a client that is not let in, and again for its end
REFUSED_LINGERING_MAX = 32  # at a time; half of DESCRIPTORS_RESERVED
ACCEPT_BACKOFF_S = 0.02  # after EMFILE and its like: many short visits may free them
ACCEPT_LOG_S = 2.0  # from one line about that to the next

WAITING_SNAPSHOT_BYTES_MAX = 64 << 20  # snapshots waiting for one client: three of the largest
HEAR_SLICE_S = 0.0005  # with one WebSocket client before the others get their turn; that costs 2%
EAGER_READS_MAX = 16  # reads of one connection in a row before the others get their turn
EAGER_ACCEPTS_MAX = 16  # likewise accepted connections
SESSIONS_PER_TURN = 256  # closed or looked at; closing one takes 20 us

# A block's fan-out
FLUSH_SLICE_S = 0.004  # of sends in a row before the others get their turn
FLUSH_LOOK_DELIVERIES = 64  # from one look at the clock to the next: about half a millisecond

# Several workers
WORKERS_MAX = 64
WORKER_REPORT_S = 0.25
WORKER_REPORT_BYTES_MAX = 64 << 10
WORKER_SILENT_S = 5.0  # without a report: it hangs
WORKER_TELL_S = 1.0  # for it to take other settings
WORKER_HUNG_S = 30.0  # likewise: it is ended and started again
WORKER_START_S = 120.0  # until it says its first word: 64 that begin at a time share the cores
WORKER_BACKOFF_S = 0.25  # before one that ended is started again; doubled each time
WORKER_BACKOFF_MAX_S = 30.0  # one that has run for longer begins anew

# Garbage collection
GC_PAUSE_S = 0.005  # a full one that takes longer is the last that sees what it has seen

# sidecar doctor (docs/doctor.md)
DOCTOR_WATCH_S = 2.0  # for new blocks; chains make one in 70 to 1,000 ms
DOCTOR_LOOK_S = 0.005  # between two looks
DOCTOR_SIGHTINGS = 5  # new rows of a stream, then it is watched no more
DOCTOR_ANSWER_S = 2.0  # of a server that is asked
DOCTOR_WRITE_LAG_S = 0.1  # a node that buffers its files: 0.2 on average; else a millisecond
DOCTOR_CLOCK_AHEAD_S = 1.0  # of a block's time before ours: some clock is wrong
DOCTOR_DISK_FACTOR = 3  # checkpoints: two that are kept, and the one that is written
DOCTOR_DISK_BYTES_MIN = 64 << 20  # however small they are now
DOCTOR_SHARED_BYTES_MIN = 1 << 30  # on a disk where the node writes its log, too
DOCTOR_INODES_MIN = 1_000
DOCTOR_PROCESS_BYTES = 300 << 20  # code, and messages that are kept to resume from
DOCTOR_STATE_FACTOR = 20  # in memory, of a native snapshot's bytes: an order takes 1.1 kB
DOCTOR_STATE_FACTOR_JSON = 5  # of an L4 snapshot's
DOCTOR_EVENTS_MIN = 1_024  # of inotify that may wait; the kernel's default is 16,384
DOCTOR_WATCHES = 64  # of inotify, of one process: the node's directories
DOCTOR_TCP_BYTES_MIN = 32 << 10  # of a socket's buffers

# Sockets
LISTEN_BACKLOG = 4096
SOCKET_RECV_BUFFER_BYTES = 64 << 10
SOCKET_SEND_BUFFER_BYTES = 256 << 10
SOCKET_NOTSENT_LOWAT_BYTES = 16 << 10  # trio's default: lag shows in our outbox, not in the kernel
SOCKET_USER_TIMEOUT_MS = 45_000  # unacknowledged or unread: longer than ping and pong

# Channels
L2_LEVELS_DEFAULT = 20
L2_LEVELS_MAX = 100
CHECKSUM_LEVELS = 10  # of each side
TOPICS_MAX = 20_000  # alive at a time, beside those that a market, or the chain, has one of
TOPICS_PER_IP = 1_000  # distinct ones; Hyperliquid's subscriptions of an address


class TopicWeight(NamedTuple):
    """As how many topics one counts, 10 us a block each: by itself, and for each position and open
    order that its user has when it is asked for.
    """

    base: int
    position: float = 0.0
    order: float = 0.0


TOPIC_WEIGHTS = {  # all others: 1
    "webData2": TopicWeight(25, 4, 0.25),
    "clearinghouseState": TopicWeight(4, 4),
    "openOrders": TopicWeight(4, 0, 0.25),
    "activeAssetData": TopicWeight(2, 0.5),
    "l2Book": TopicWeight(3),  # but for the plain one of a market
}

# Coming back to a topic
RECENT_BYTES_MAX = 256 << 20  # frames of EVERY topics kept to resume from, of all topics together
TOPIC_LINGER_S = 60.0  # a topic that nobody reads any more is kept up: clients come back
TOPICS_LINGERING_MAX = 2_000
BREAKS_KEPT = 100  # repairs of parts, behind which who comes back begins anew
TELLING_BLOCKS = 8  # kept to tell the way of the chain from another
WAY_BLOCKS_MAX = 1_000  # how far back they are looked at
RESUME_BLOCKS_MAX = 200_000  # run again for one client; beyond, a gap is told
RESUME_AHEAD_BLOCKS_MAX = 10_000  # twenty minutes of the fastest chain: no sidecar is so far behind
RESUME_AHEAD_S = 30.0  # to reach a height that another sidecar had reached
RESUMPTIONS_WAITING_MAX = 10_000  # of all clients
RESUMPTIONS_WAITING_PER_IP = 1_000  # of all its connections; those beyond begin anew

# Rebuilding what is known to be wrong
REBUILD_SLICE_S = 0.005  # the longest time without letting the server run
REBUILD_POLL_S = 0.05  # how soon a fault is seen
REBUILD_QUIET_S = 5.0  # without a block that was read before: the log was cut
REBUILD_RETRY_S = 1.0  # after an attempt that no snapshot made good; doubled each time
REBUILD_RETRY_MAX_S = 60.0

# Freshness
STALE_AFTER_S = 3.0  # without a block; chains make one in 70 to 1,000 ms
BEHIND_AFTER_S = 10.0  # the newest block's age; a clock that is off shows here, too
FRESHNESS_INTERVAL_S = 0.25

# Following the node
LOG_LISTED_S = 0.2  # at the most so often, while the next block is not where it should be
FOLLOW_POLL_S = 1.0  # a sleeping follower looks by itself this often
FOLLOW_POLL_WITHOUT_INOTIFY_S = 0.005  # where the system has no inotify instance left
FOLLOW_BUSY_S = 0.1  # before it looks again where no descriptor is left
FOLLOW_COMPLAIN_S = 5.0  # from one line about that to the next
BEHIND_WARN_S = 5.0  # a stream of the node without a row that the others have, for so long
FOLLOW_SLICE_S = 0.005  # while catching up, the longest time without letting the server run
SOURCE_RETRY_S = 0.5  # while the node's directory or snapshot is not there yet
SOURCE_RETRY_MAX_S = 5.0  # the same of its info server, of which each try is a request; doubled
SOURCE_WAIT_TOLD_S = 60.0  # from one line about that to the next

# The development chain
DEVNET_OPEN_ORDERS_MAX = 1_000  # of an account, resting and waiting; Hyperliquid's own first limit
DEVNET_MEMPOOL_ACTIONS_MAX = 10_000  # signed actions that wait for the next block
DEVNET_MEMPOOL_BYTES_MAX = 16 << 20  # of their bodies: one block's inputs are one record
DEVNET_NONCES_KEPT = 100  # of a signer, the highest; Hyperliquid's own

# Signed actions
ACTION_BATCH_MAX = 500  # orders or cancels of one: as many as fit a body

BUCKETS_KEPT = 100_000  # of addresses and accounts that asked of late
SENT_ACTIONS_KEPT = 50_000  # with their answers, to tell them again: about 1 kB each
SENT_ACTIONS_BYTES_MAX = 64 << 20  # of those answers: one to 500 cancels has 34 kB
HEIGHT_AHEAD_MAX = 1_000_000  # blocks of an answer above the state: a day of 100 ms without a feed
ORDERS_PER_S_PER_IP = 100.0  # requests, one and a fortieth of each order; Hyperliquid: 20
ORDERS_BURST_PER_IP = 2_000
ORDERS_PER_S_PER_ACCOUNT = 50.0
ORDERS_BURST_PER_ACCOUNT = 1_000
ORDERS_IN_FLIGHT_PER_IP = 2_000
ORDERS_IN_FLIGHT_PER_ACCOUNT = 500
ORDERS_BATCH_WEIGHT = 40  # orders for which one more request is counted; Hyperliquid's own
ORDERS_ADMITTED_PER_TURN = 50  # of the event loop: 100 us each, then blocks get their turn
ORDERS_TURN_BYTES = 4 << 10  # for so many more of a body, one more of those: 64 KiB take 1.5 ms
ORDERS_WAITING_PER_IP = 2_000  # to be admitted; a whole burst
ORDERS_WAITING_BYTES_PER_IP = 4 << 20  # of their bodies: 2 kB each
ORDERS_WAITING_MAX = 20_000  # of all addresses, but one of each has room; ten bursts
ORDERS_WAITING_BYTES_MAX = 64 << 20  # of all addresses, but likewise
UNSENT_KEPT = 10_000  # safety nets until the node takes them: as many as connections
UNSENT_BYTES_MAX = 16 << 20  # of their bodies
NONCES_KEPT = 100  # of a signer, the highest, by the chain: nothing below them is taken
ORDER_TRACES_KEPT = 1_000
ORDER_TRACES_WAITING_MAX = 10_000  # for their blocks
ORDERS_FLUSH_S = 0.5  # for what connections sent when they ended
ORDERS_DRAIN_S = 1.0  # for answers that are on their way when the server ends

# The submission socket, the sidecar's end
SUBMIT_ANSWER_TIMEOUT_S = 5.0
SUBMIT_LATE_S = 60.0  # beyond that an answer is not waited for at all
SUBMIT_IN_FLIGHT_MAX = 8_000  # the node takes 10,000
SUBMIT_URGENT_IN_FLIGHT_MAX = 9_500  # safety nets have room where others have none
SUBMIT_WAITING_BYTES_MAX = 16 << 20  # that the kernel did not take
SUBMIT_BACKOFF_S = 0.05  # before connecting again; doubled each time
SUBMIT_BACKOFF_MAX_S = 1.0
SUBMIT_SLICE_S = 0.003  # of answers in a row

# The submission socket
SUBMISSION_CONNECTIONS_MAX = 64  # sidecars beside one node; each has one
SUBMISSION_IN_FLIGHT_MAX = 10_000  # of a connection; as many as wait for a block
SUBMISSION_RECORD_BYTES_MAX = 128 << 10  # a request: a body of 64 KiB and room to say it is longer
SUBMISSION_ANSWERS_BYTES_MAX = 64 << 20  # that wait; those of a whole block come at once
