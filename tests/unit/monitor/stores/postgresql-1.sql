CREATE TABLE about (
	name VARCHAR(32) NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE board (
	board_id VARCHAR(16) NOT NULL,
	name VARCHAR(64) NOT NULL,
	labels TEXT NOT NULL,
	boot INTEGER NOT NULL,
	journal INTEGER NOT NULL,
	cursor BIGINT NOT NULL,
	history BIGINT NOT NULL,
	reached_ms BIGINT NOT NULL,
	PRIMARY KEY (board_id)
);
CREATE TABLE look (
	board_id VARCHAR(16) NOT NULL,
	node INTEGER NOT NULL,
	day INTEGER NOT NULL,
	kind VARCHAR(8) NOT NULL,
	bound_ms INTEGER NOT NULL,
	count BIGINT NOT NULL,
	PRIMARY KEY (board_id, node, day, kind, bound_ms)
);
CREATE INDEX look_day ON look (day);
CREATE TABLE mention (
	id BIGSERIAL NOT NULL,
	subject VARCHAR(24) NOT NULL,
	channel VARCHAR(64) NOT NULL,
	board_id VARCHAR(16) NOT NULL,
	event_id BIGINT,
	observation_id BIGINT,
	clears BOOLEAN NOT NULL,
	state VARCHAR(8) NOT NULL,
	message_id BIGINT,
	at_ms BIGINT NOT NULL,
	PRIMARY KEY (id),
	CONSTRAINT mention_once UNIQUE (subject, channel)
);
CREATE INDEX mention_event ON mention (event_id);
CREATE INDEX mention_message ON mention (message_id);
CREATE INDEX mention_state ON mention (state, channel);
CREATE TABLE message (
	id BIGSERIAL NOT NULL,
	uid VARCHAR(32) NOT NULL,
	channel VARCHAR(64) NOT NULL,
	severity VARCHAR(8) NOT NULL,
	title TEXT NOT NULL,
	body TEXT NOT NULL,
	state VARCHAR(8) NOT NULL,
	attempts INTEGER NOT NULL,
	unsure BOOLEAN NOT NULL,
	trouble TEXT NOT NULL,
	made_ms BIGINT NOT NULL,
	sent_ms BIGINT,
	PRIMARY KEY (id),
	UNIQUE (uid)
);
CREATE INDEX message_state ON message (state, channel);
CREATE TABLE observation (
	id BIGSERIAL NOT NULL,
	board_id VARCHAR(16) NOT NULL,
	journal INTEGER NOT NULL,
	kind VARCHAR(16) NOT NULL,
	severity INTEGER NOT NULL,
	first BIGINT NOT NULL,
	last BIGINT NOT NULL,
	at_ms BIGINT NOT NULL,
	words TEXT NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX observation_board ON observation (board_id, id);
CREATE TABLE problem (
	id BIGSERIAL NOT NULL,
	board_id VARCHAR(16) NOT NULL,
	kind VARCHAR(16) NOT NULL,
	node INTEGER NOT NULL,
	opened_by VARCHAR(24) NOT NULL,
	opened_ms BIGINT NOT NULL,
	closed_by VARCHAR(24),
	closed_ms BIGINT,
	PRIMARY KEY (id)
);
CREATE INDEX problem_open ON problem (board_id, kind, closed_ms);
CREATE TABLE relay_total (
	board_id VARCHAR(16) NOT NULL,
	node INTEGER NOT NULL,
	event INTEGER NOT NULL,
	count BIGINT NOT NULL,
	PRIMARY KEY (board_id, node, event)
);
CREATE TABLE event (
	id BIGSERIAL NOT NULL,
	board_id VARCHAR(16) NOT NULL,
	journal INTEGER NOT NULL,
	sequence BIGINT NOT NULL,
	severity INTEGER NOT NULL,
	event INTEGER NOT NULL,
	node INTEGER NOT NULL,
	at_ms BIGINT NOT NULL,
	raw BYTEA NOT NULL,
	PRIMARY KEY (id),
	CONSTRAINT event_once UNIQUE (board_id, journal, sequence),
	FOREIGN KEY(board_id) REFERENCES board (board_id)
);
CREATE INDEX event_at ON event (at_ms, id);
CREATE INDEX event_board ON event (board_id, id);
CREATE INDEX event_kind ON event (event, id);
CREATE INDEX event_last ON event (board_id, journal, event, node, sequence);
CREATE INDEX event_node ON event (node, id);
CREATE INDEX event_severity ON event (severity, id);
INSERT INTO about ("name", "value") VALUES ('version', '1');
INSERT INTO about ("name", "value") VALUES ('mqtt_told', '3');
INSERT INTO board ("board_id", "name", "labels", "boot", "journal", "cursor", "history", "reached_ms") VALUES ('E66118604B5C4A2A', 'rack-1', '{"a": "a (alpha)", "b": "b (beta)"}', 3, 1, 34, 1, 1796136206563);
INSERT INTO look ("board_id", "node", "day", "kind", "bound_ms", "count") VALUES ('E66118604B5C4A2A', 0, 20788, 'age', 100, 7);
INSERT INTO mention ("id", "subject", "channel", "board_id", "event_id", "observation_id", "clears", "state", "message_id", "at_ms") VALUES (1, 'e378db55342f6894c63fe38', 'mail', 'E66118604B5C4A2A', 2, NULL, false, 'bundled', 1, 1798718402000);
INSERT INTO mention ("id", "subject", "channel", "board_id", "event_id", "observation_id", "clears", "state", "message_id", "at_ms") VALUES (2, 'e378db55342f6894c63fe38', 'pager', 'E66118604B5C4A2A', 2, NULL, false, 'bundled', 2, 1798718402000);
INSERT INTO mention ("id", "subject", "channel", "board_id", "event_id", "observation_id", "clears", "state", "message_id", "at_ms") VALUES (3, 'e4e13d2ccd2e43c04162cd8', 'mail', 'E66118604B5C4A2A', 3, NULL, false, 'bundled', 3, 1798718403000);
INSERT INTO mention ("id", "subject", "channel", "board_id", "event_id", "observation_id", "clears", "state", "message_id", "at_ms") VALUES (4, 'e75801e519c6776b473a44d', 'mail', 'E66118604B5C4A2A', 4, NULL, false, 'bundled', 3, 1798718404000);
INSERT INTO mention ("id", "subject", "channel", "board_id", "event_id", "observation_id", "clears", "state", "message_id", "at_ms") VALUES (5, 'e75801e519c6776b473a44d', 'pager', 'E66118604B5C4A2A', 4, NULL, false, 'bundled', 4, 1798718404000);
INSERT INTO mention ("id", "subject", "channel", "board_id", "event_id", "observation_id", "clears", "state", "message_id", "at_ms") VALUES (6, 'o1', 'mail', 'E66118604B5C4A2A', NULL, 1, false, 'waiting', NULL, 1796136206519);
SELECT setval(pg_get_serial_sequence('mention', 'id'), (SELECT coalesce(max(id), 1) FROM mention));
INSERT INTO message ("id", "uid", "channel", "severity", "title", "body", "state", "attempts", "unsure", "trouble", "made_ms", "sent_ms") VALUES (1, '9b7f1854359649f2a4454d639966cde5', 'mail', 'alarm', 'ALARM rack-1: a (alpha) is dead: no good heartbeat for 2000 ms', 'What happened: 2026-12-31 12:00:02.000Z rack-1: a (alpha) is dead: no good heartbeat for 2000 ms

Why: no good heartbeat for dead_ms

What the board did:
  12:00:01.000Z  the board started (no reason given); 0 bad boots in a row
  12:00:02.000Z  a (alpha) is dead: no good heartbeat for 2000 ms

What to do now:
  - Look at the server itself: console, power, agent. Check the serial cable, its plugs and the server''s port.

Board rack-1, record 2. Told by the monitor on here.', 'sent', 1, false, '', 1796136206384, 1796136206404);
INSERT INTO message ("id", "uid", "channel", "severity", "title", "body", "state", "attempts", "unsure", "trouble", "made_ms", "sent_ms") VALUES (2, 'df820072582c49799689547cc2344fe1', 'pager', 'alarm', 'ALARM rack-1: a (alpha) is dead: no good heartbeat for 2000 ms', 'What happened: 2026-12-31 12:00:02.000Z rack-1: a (alpha) is dead: no good heartbeat for 2000 ms

Why: no good heartbeat for dead_ms

What the board did:
  12:00:01.000Z  the board started (no reason given); 0 bad boots in a row
  12:00:02.000Z  a (alpha) is dead: no good heartbeat for 2000 ms

What to do now:
  - Look at the server itself: console, power, agent. Check the serial cable, its plugs and the server''s port.

Board rack-1, record 2. Told by the monitor on here.', 'sent', 1, false, '', 1796136206418, 1796136206429);
INSERT INTO message ("id", "uid", "channel", "severity", "title", "body", "state", "attempts", "unsure", "trouble", "made_ms", "sent_ms") VALUES (3, '59caa3dcf4204f9ead3d0e3ca1088d0e', 'mail', 'alarm', 'ALARM rack-1: b (beta) is dead: no good heartbeat for 2000 ms (and 1 more)', 'What happened: 2026-12-31 12:00:04.000Z rack-1: b (beta) is dead: no good heartbeat for 2000 ms

Why: no good heartbeat for dead_ms

What the board did:
  12:00:01.000Z  the board started (no reason given); 0 bad boots in a row
  12:00:02.000Z  a (alpha) is dead: no good heartbeat for 2000 ms
  12:00:03.000Z  b (beta) is late: no good heartbeat for 900 ms
  12:00:04.000Z  b (beta) is dead: no good heartbeat for 2000 ms

How it stands: open: a (alpha): silent; b (beta): silent.

What to do now:
  - Look at the server itself: console, power, agent. Check the serial cable, its plugs and the server''s port.
  - Nothing yet; if it happens often, look at the server''s load and its cable.

Board rack-1, records 3 to 4. Told by the monitor on here.', 'sending', 3, false, 'refused', 1796136206455, NULL);
INSERT INTO message ("id", "uid", "channel", "severity", "title", "body", "state", "attempts", "unsure", "trouble", "made_ms", "sent_ms") VALUES (4, '40335589889a48918e82f1a81c1abdb9', 'pager', 'alarm', 'ALARM rack-1: b (beta) is dead: no good heartbeat for 2000 ms', 'What happened: 2026-12-31 12:00:04.000Z rack-1: b (beta) is dead: no good heartbeat for 2000 ms

Why: no good heartbeat for dead_ms

What the board did:
  12:00:01.000Z  the board started (no reason given); 0 bad boots in a row
  12:00:02.000Z  a (alpha) is dead: no good heartbeat for 2000 ms
  12:00:03.000Z  b (beta) is late: no good heartbeat for 900 ms
  12:00:04.000Z  b (beta) is dead: no good heartbeat for 2000 ms

What to do now:
  - Look at the server itself: console, power, agent. Check the serial cable, its plugs and the server''s port.

Board rack-1, record 4. Told by the monitor on here.', 'pending', 2, false, 'refused', 1796136206473, NULL);
SELECT setval(pg_get_serial_sequence('message', 'id'), (SELECT coalesce(max(id), 1) FROM message));
INSERT INTO observation ("id", "board_id", "journal", "kind", "severity", "first", "last", "at_ms", "words") VALUES (1, 'E66118604B5C4A2A', 1, 'lost', 2, 3, 4, 1796136206519, 'records 3 to 4 are lost');
SELECT setval(pg_get_serial_sequence('observation', 'id'), (SELECT coalesce(max(id), 1) FROM observation));
INSERT INTO problem ("id", "board_id", "kind", "node", "opened_by", "opened_ms", "closed_by", "closed_ms") VALUES (1, 'E66118604B5C4A2A', 'silent', 0, 'e378db55342f6894c63fe38', 1798718402000, NULL, NULL);
INSERT INTO problem ("id", "board_id", "kind", "node", "opened_by", "opened_ms", "closed_by", "closed_ms") VALUES (2, 'E66118604B5C4A2A', 'silent', 1, 'e4e13d2ccd2e43c04162cd8', 1798718403000, NULL, NULL);
SELECT setval(pg_get_serial_sequence('problem', 'id'), (SELECT coalesce(max(id), 1) FROM problem));
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (1, 'E66118604B5C4A2A', 1, 1, 1, 1, 3, 1798718401000, '\x010000000300000000e8030000010000000300000000000000005251e83193021d6d403ece3ae8782b12');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (2, 'E66118604B5C4A2A', 1, 2, 3, 12, 0, 1798718402000, '\x020000000300000000d00700000c00010000d0070000000000005251d035930208908ec49ef69618e618');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (3, 'E66118604B5C4A2A', 1, 3, 2, 11, 1, 1798718403000, '\x030000000300000000b80b00000b0001000184030000000000005251b8399302e52cbbf527d992a2deaf');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (4, 'E66118604B5C4A2A', 1, 4, 3, 12, 1, 1798718404000, '\x040000000300000000a00f00000c00010001d0070000000000005251a03d9302744531bb60d47d10d7f5');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (5, 'E66118604B5C4A2A', 1, 5, 0, 17, 0, 1798718405000, '\x050000000300000000881300001100000000010000000000000052518841930249ce9ac3b582c25d9656');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (6, 'E66118604B5C4A2A', 1, 6, 0, 17, 1, 1798718406000, '\x06000000030000000070170000110000000101000000000000005251704593022f5c7b2cf206ef8f9545');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (7, 'E66118604B5C4A2A', 1, 7, 0, 17, 0, 1798718407000, '\x070000000300000000581b00001100000000010000000000000052515849930293317e78f15a2c76a3de');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (8, 'E66118604B5C4A2A', 1, 8, 0, 17, 1, 1798718408000, '\x080000000300000000401f0000110000000101000000000000005251404d93029d018770f408e7a4d02e');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (9, 'E66118604B5C4A2A', 1, 9, 0, 17, 0, 1798718409000, '\x09000000030000000028230000110000000001000000000000005251285193024bc4b28c6b4aa28bd451');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (10, 'E66118604B5C4A2A', 1, 10, 0, 17, 1, 1798718410000, '\x0a0000000300000000102700001100000001010000000000000052511055930234d807d18b84586d6855');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (11, 'E66118604B5C4A2A', 1, 11, 0, 17, 0, 1798718411000, '\x0b0000000300000000f82a0000110000000001000000000000005251f8589302fc8ef160b4fd8f25d6ff');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (12, 'E66118604B5C4A2A', 1, 12, 0, 17, 1, 1798718412000, '\x0c0000000300000000e02e0000110000000101000000000000005251e05c930200a3030ec2182cfa5981');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (13, 'E66118604B5C4A2A', 1, 13, 0, 17, 0, 1798718413000, '\x0d0000000300000000c8320000110000000001000000000000005251c86093028d404f9675913dac81b6');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (14, 'E66118604B5C4A2A', 1, 14, 0, 17, 1, 1798718414000, '\x0e0000000300000000b0360000110000000101000000000000005251b064930262ab87b4ebaf3be0ba8b');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (15, 'E66118604B5C4A2A', 1, 15, 0, 17, 0, 1798718415000, '\x0f0000000300000000983a000011000000000100000000000000525198689302ec9165d28dc53ab52b6f');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (16, 'E66118604B5C4A2A', 1, 16, 0, 17, 1, 1798718416000, '\x100000000300000000803e0000110000000101000000000000005251806c9302790474164f05701dc46e');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (17, 'E66118604B5C4A2A', 1, 17, 0, 17, 0, 1798718417000, '\x11000000030000000068420000110000000001000000000000005251687093026df80bf6c5bfaeb57c2b');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (18, 'E66118604B5C4A2A', 1, 18, 0, 17, 1, 1798718418000, '\x120000000300000000504600001100000001010000000000000052515074930266e6041ce3f5e8887938');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (19, 'E66118604B5C4A2A', 1, 19, 0, 17, 0, 1798718419000, '\x130000000300000000384a000011000000000100000000000000525138789302a53b78a98d65beec8df3');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (20, 'E66118604B5C4A2A', 1, 20, 0, 17, 1, 1798718420000, '\x140000000300000000204e0000110000000101000000000000005251207c9302a1daa1343c9015cd7418');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (21, 'E66118604B5C4A2A', 1, 21, 0, 17, 0, 1798718421000, '\x1500000003000000000852000011000000000100000000000000525108809302ac3eead64fb176a4d213');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (22, 'E66118604B5C4A2A', 1, 22, 0, 17, 1, 1798718422000, '\x160000000300000000f0550000110000000101000000000000005251f0839302cc24fa3745e4c2d742b1');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (23, 'E66118604B5C4A2A', 1, 23, 0, 17, 0, 1798718423000, '\x170000000300000000d8590000110000000001000000000000005251d8879302336c2c5d0ae14379f60f');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (24, 'E66118604B5C4A2A', 1, 24, 0, 17, 1, 1798718424000, '\x180000000300000000c05d0000110000000101000000000000005251c08b9302bcc0f7467e2516a43359');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (25, 'E66118604B5C4A2A', 1, 25, 0, 17, 0, 1798718425000, '\x190000000300000000a8610000110000000001000000000000005251a88f9302f1bb2dc33516f1a6ee2b');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (26, 'E66118604B5C4A2A', 1, 26, 0, 17, 1, 1798718426000, '\x1a000000030000000090650000110000000101000000000000005251909393029f8594099620cc33e5d7');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (27, 'E66118604B5C4A2A', 1, 27, 0, 17, 0, 1798718427000, '\x1b00000003000000007869000011000000000100000000000000525178979302086faa36aac8bc69a659');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (28, 'E66118604B5C4A2A', 1, 28, 0, 17, 1, 1798718428000, '\x1c0000000300000000606d0000110000000101000000000000005251609b930265f96f2bf65dd2a9a5b6');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (29, 'E66118604B5C4A2A', 1, 29, 0, 17, 0, 1798718429000, '\x1d000000030000000048710000110000000001000000000000005251489f9302737583bc7c0934367b69');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (30, 'E66118604B5C4A2A', 1, 30, 0, 17, 1, 1798718430000, '\x1e00000003000000003075000011000000010100000000000000525130a39302059c4c0136c6b7e32f1d');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (31, 'E66118604B5C4A2A', 1, 31, 0, 17, 0, 1798718431000, '\x1f00000003000000001879000011000000000100000000000000525118a79302d434f2e4e43bf8ed4611');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (32, 'E66118604B5C4A2A', 1, 32, 0, 17, 1, 1798718432000, '\x200000000300000000007d000011000000010100000000000000525100ab9302fa1a662e53f5a0bd7e95');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (33, 'E66118604B5C4A2A', 1, 33, 0, 17, 0, 1798718433000, '\x210000000300000000e8800000110000000001000000000000005251e8ae9302a9ce1683cf3dd91268eb');
INSERT INTO event ("id", "board_id", "journal", "sequence", "severity", "event", "node", "at_ms", "raw") VALUES (34, 'E66118604B5C4A2A', 1, 34, 0, 17, 1, 1798718434000, '\x220000000300000000d0840000110000000101000000000000005251d0b29302e3ddcfdeedfbfdbb8b42');
SELECT setval(pg_get_serial_sequence('event', 'id'), (SELECT coalesce(max(id), 1) FROM event));
