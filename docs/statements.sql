-- Every statement of the server, as `make sql` renders it from server/thumbq_server/storage.
-- psql accepts this file: each block prepares one statement, which EXECUTE then runs.

-- job_events_log: $1 job_ids, $2 event_types, $3 messages, $4 metadata, $5 error_messages, $6 lease_seconds, $7 longest_seconds, $8 most_kept
PREPARE job_events_log (bigint[], text[], text[], text[], text[], double precision, double precision, bigint) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
           WITH ORDINALITY AS i (job_id, event_type, message, metadata, error_message, place)
), lines AS (
    SELECT i.*, nextval('job_event_seq') AS id FROM input i
     WHERE EXISTS (SELECT FROM jobs j WHERE j.id = i.job_id)
     ORDER BY place
), told AS (
    SELECT l.worker, min(l.claimed_at) AS claimed_at
      FROM leases l JOIN workers w ON w.id = l.worker AND w.session_id = ''
     WHERE l.job_id = ANY ($1)
     GROUP BY l.worker
), extended AS (
    UPDATE leases l
       SET expires_at = greatest(l.expires_at, least(now() + $6::float8 * interval '1 second',
                                                     l.claimed_at + $7 * interval '1 second'))
      FROM told t
     WHERE l.worker = t.worker AND l.claimed_at >= t.claimed_at
       -- the twelve lines of a quick job extend it once
       AND l.expires_at < now() + 0.9 * $6::float8 * interval '1 second'
), forgotten AS (
    DELETE FROM job_events WHERE id = ANY (ARRAY (
        SELECT old.id FROM (SELECT DISTINCT job_id FROM lines) n CROSS JOIN LATERAL (
            SELECT e.id FROM job_events e WHERE e.job_id = n.job_id ORDER BY e.id DESC OFFSET $8) old))
), written AS (
    INSERT INTO job_events (id, job_id, event_type, message, metadata, error_message)
    SELECT id, job_id, event_type, message, metadata, error_message FROM lines
)
SELECT place, id, set_config('synchronous_commit', 'off', true) FROM lines;

-- job_events_list: $1 job_id, $2 most
PREPARE job_events_list (bigint, bigint) AS
SELECT * FROM (
    SELECT id, created_at, event_type, message, metadata, error_message
      FROM job_events WHERE job_id = $1 ORDER BY id DESC LIMIT $2) AS newest
 ORDER BY id;

-- leases_keep: $1 worker_ids, $2 connected_seconds, $3 lease_seconds, $4 longest_seconds
PREPARE leases_keep (text[], double precision[], double precision, double precision) AS
UPDATE leases l
   SET expires_at = greatest(l.expires_at, least(now() + $3 * interval '1 second',
                                                 l.claimed_at + $4 * interval '1 second'))
  FROM unnest($1::text[], $2::float8[]) AS i (worker_id, connected_seconds)
  JOIN workers w ON w.worker_id = i.worker_id AND w.session_id = ''
 WHERE l.worker = w.id AND l.claimed_at >= now() - i.connected_seconds * interval '1 second';

-- log_prune: $1 keep_seconds, $2 limit
PREPARE log_prune (double precision, bigint) AS
WITH pruned AS (
    DELETE FROM notifications WHERE seq_last = ANY (ARRAY (
        SELECT seq_last FROM (
            SELECT seq_last,
                   bool_and(created_at < now() - make_interval(secs => $1)) OVER (ORDER BY seq_last) AS old
              FROM (SELECT seq_last, created_at FROM notifications ORDER BY seq_last LIMIT $2) AS oldest
        ) AS judged WHERE old))
    RETURNING 1
)
SELECT count(*) AS count FROM pruned;

-- model_versions_exist
PREPARE model_versions_exist AS
SELECT EXISTS (SELECT FROM model_versions) AS exist;

-- model_versions_write: $1 version_ids, $2 model_ids, $3 model_hashes
PREPARE model_versions_write (bigint[], bigint[], bytea[]) AS
INSERT INTO model_versions AS v (version_id, model_id, model_hash)
SELECT DISTINCT ON (version_id) * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])
       AS i (version_id, model_id, model_hash)
 ORDER BY version_id
ON CONFLICT (version_id) DO UPDATE
   SET model_id = excluded.model_id, model_hash = excluded.model_hash, processed_at = NULL,
       path = NULL, size_bytes = NULL, width = NULL, height = NULL
 WHERE (v.model_id, v.model_hash) <> (excluded.model_id, excluded.model_hash);

-- model_versions_of_jobs: $1 job_ids
PREPARE model_versions_of_jobs (bigint[]) AS
SELECT j.id, max(v.version_id) AS version_id
  FROM jobs j JOIN model_versions v ON v.model_id = j.model_id AND v.model_hash = j.model_hash
 WHERE j.id = ANY ($1) GROUP BY j.id;

-- model_versions_keep_pictures: $1 job_ids, $2 paths, $3 sizes, $4 widths, $5 heights
PREPARE model_versions_keep_pictures (bigint[], text[], bigint[], integer[], integer[]) AS
UPDATE model_versions v
   SET path = i.path, size_bytes = i.size_bytes, width = i.width, height = i.height, processed_at = now()
  FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::int[], $5::int[])
       AS i (job_id, path, size_bytes, width, height)
  JOIN jobs j ON j.id = i.job_id
 WHERE v.model_id = j.model_id AND v.model_hash = j.model_hash;

-- model_versions_read: $1 version_id
PREPARE model_versions_read (bigint) AS
SELECT v.model_id, v.model_hash, v.created_at, v.processed_at, v.path, v.size_bytes, v.width, v.height,
       s.status, s.attempt_count, s.error_message
  FROM model_versions v
  LEFT JOIN jobs j ON j.model_id = v.model_id AND j.model_hash = v.model_hash
  LEFT JOIN job_states s ON s.id = j.id
 WHERE v.version_id = $1;

-- log_head
PREPARE log_head AS
SELECT epoch, seq FROM queue_head;

-- log_oldest
PREPARE log_oldest AS
SELECT seq_first AS oldest FROM notifications ORDER BY seq_last LIMIT 1;

-- log_after: $1 seq, $2 limit, $3 events
PREPARE log_after (bigint, bigint, bigint) AS
SELECT seq_last, seq_first, created_at, status, test, model_ids, job_ids, attempt_counts, error_messages,
       next_attempt_ats, thumbnail_url
  FROM notifications
 WHERE seq_last > $1
   AND seq_last <= (SELECT min(seq_last) FROM notifications WHERE seq_last > $1) + $3
 ORDER BY seq_last LIMIT $2;

-- log_publish_test: $1 model_id, $2 status, $3 thumbnail_url, $4 error_message
PREPARE log_publish_test (bigint, text, text, text) AS
WITH head AS (
    UPDATE queue_head SET seq = seq + 1 RETURNING seq, pg_notify('thumbq', 'log')
)
INSERT INTO notifications (seq_last, seq_first, status, test, model_ids, job_ids, attempt_counts, error_messages,
                           next_attempt_ats, thumbnail_url)
SELECT seq, seq, $2, true, ARRAY[$1::bigint], ARRAY[0::bigint], ARRAY[0::smallint], ARRAY[$4::text], NULL, $3
  FROM head
RETURNING seq_last;

-- history_look
PREPARE history_look AS
SELECT epoch, seq, beat, identity, (SELECT system_identifier FROM pg_control_system()) || '/'
           || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/'
           || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'queue_head'::regclass::oid AS present_identity FROM queue_head;

-- history_beat
PREPARE history_beat AS
UPDATE queue_head SET beat = beat + 1 RETURNING epoch, seq, beat, identity, (SELECT system_identifier FROM pg_control_system()) || '/'
           || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/'
           || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'queue_head'::regclass::oid AS present_identity;

-- history_begin: $1 known_epoch, $2 known_beat, $3 epoch, $4 beat, $5 identity
PREPARE history_begin (text, bigint, text, bigint, text) AS
UPDATE queue_head SET epoch = $3, beat = greatest(beat, $4), identity = $5 WHERE epoch = $1 AND beat >= $2;

-- history_identify: $1 identity
PREPARE history_identify (text) AS
UPDATE queue_head SET identity = $1 WHERE identity IS NULL;

-- notify_broadcast: $1 payloads
PREPARE notify_broadcast (text[]) AS
SELECT pg_notify('thumbq', payload) FROM unnest($1::text[]) AS payload;

-- jobs_page_all: $1 below, $2 limit
PREPARE jobs_page_all (bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM job_states
WHERE job_states.id < $1::BIGINT ORDER BY job_states.id DESC
 LIMIT $2::BIGINT;

-- jobs_page_all_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_all_of_model (bigint, bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM job_states
WHERE job_states.id < $1::BIGINT AND job_states.model_id = $2::BIGINT ORDER BY job_states.id DESC
 LIMIT $3::BIGINT;

-- jobs_page_pending: $1 below, $2 limit
PREPARE jobs_page_pending (bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM ready JOIN job_states ON job_states.id = ready.job_id
WHERE ready.job_id < $1::BIGINT ORDER BY ready.job_id DESC
 LIMIT $2::BIGINT;

-- jobs_page_pending_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_pending_of_model (bigint, bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM ready JOIN job_states ON job_states.id = ready.job_id
WHERE ready.job_id < $1::BIGINT AND job_states.model_id = $2::BIGINT ORDER BY ready.job_id DESC
 LIMIT $3::BIGINT;

-- jobs_page_processing: $1 below, $2 limit
PREPARE jobs_page_processing (bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM leases JOIN job_states ON job_states.id = leases.job_id
WHERE leases.job_id < $1::BIGINT ORDER BY leases.job_id DESC
 LIMIT $2::BIGINT;

-- jobs_page_processing_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_processing_of_model (bigint, bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM leases JOIN job_states ON job_states.id = leases.job_id
WHERE leases.job_id < $1::BIGINT AND job_states.model_id = $2::BIGINT ORDER BY leases.job_id DESC
 LIMIT $3::BIGINT;

-- jobs_page_completed: $1 below, $2 limit
PREPARE jobs_page_completed (bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM job_states
WHERE job_states.id < $1::BIGINT AND job_states.status = 'Completed' ORDER BY job_states.id DESC
 LIMIT $2::BIGINT;

-- jobs_page_completed_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_completed_of_model (bigint, bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM job_states
WHERE job_states.id < $1::BIGINT AND job_states.status = 'Completed' AND job_states.model_id = $2::BIGINT ORDER BY job_states.id DESC
 LIMIT $3::BIGINT;

-- jobs_page_failed: $1 below, $2 limit
PREPARE jobs_page_failed (bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM dead_letters JOIN job_states ON job_states.id = dead_letters.job_id
WHERE dead_letters.job_id < $1::BIGINT AND dead_letters.status = 'Failed' ORDER BY dead_letters.job_id DESC
 LIMIT $2::BIGINT;

-- jobs_page_failed_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_failed_of_model (bigint, bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM dead_letters JOIN job_states ON job_states.id = dead_letters.job_id
WHERE dead_letters.job_id < $1::BIGINT AND dead_letters.status = 'Failed' AND job_states.model_id = $2::BIGINT ORDER BY dead_letters.job_id DESC
 LIMIT $3::BIGINT;

-- jobs_page_cancelled: $1 below, $2 limit
PREPARE jobs_page_cancelled (bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM dead_letters JOIN job_states ON job_states.id = dead_letters.job_id
WHERE dead_letters.job_id < $1::BIGINT AND dead_letters.status = 'Cancelled' ORDER BY dead_letters.job_id DESC
 LIMIT $2::BIGINT;

-- jobs_page_cancelled_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_cancelled_of_model (bigint, bigint, bigint) AS
SELECT job_states.id, job_states.model_id, job_states.model_hash, job_states.request_no, job_states.priority, job_states.max_attempts, job_states.error_message, job_states.created_at, job_states.finished_at, job_states.status, job_states.attempt_count, job_states.lease_seq, job_states.updated_at, job_states.run_at, job_states.lease_expires_at, job_states.worker_id
FROM dead_letters JOIN job_states ON job_states.id = dead_letters.job_id
WHERE dead_letters.job_id < $1::BIGINT AND dead_letters.status = 'Cancelled' AND job_states.model_id = $2::BIGINT ORDER BY dead_letters.job_id DESC
 LIMIT $3::BIGINT;

-- jobs_read: $1 job_id
PREPARE jobs_read (bigint) AS
SELECT * FROM job_states WHERE id = $1;

-- jobs_live_of_model: $1 model_id
PREPARE jobs_live_of_model (bigint) AS
SELECT id FROM job_states WHERE model_id = $1 AND status IN ('Pending', 'Processing') ORDER BY id;

-- leases_held: $1 session
PREPARE leases_held (bigint) AS
SELECT job_id, lease_seq FROM leases WHERE worker = $1 ORDER BY job_id;

-- leases_lost: $1 job_ids
PREPARE leases_lost (bigint[]) AS
SELECT id, status, lease_seq FROM job_states WHERE id = ANY ($1);

-- snapshot_count
PREPARE snapshot_count AS
SELECT (SELECT count(*) FROM ready) AS pending, (SELECT count(*) FROM leases) AS processing,
       (SELECT completed FROM queue_head) AS completed,
       (SELECT count(*) FROM dead_letters WHERE status = 'Failed') AS failed,
       (SELECT count(*) FROM dead_letters WHERE status = 'Cancelled') AS cancelled,
       now() AS timestamp;

-- snapshot_rendering
PREPARE snapshot_rendering AS
SELECT j.model_id, l.job_id, w.worker_id, l.attempt, l.claimed_at
  FROM (SELECT * FROM leases ORDER BY claimed_at DESC LIMIT 100) l
  JOIN jobs j ON j.id = l.job_id JOIN workers w ON w.id = l.worker
 ORDER BY l.claimed_at DESC;

-- thumbnails_read: $1 model_id
PREPARE thumbnails_read (bigint) AS
SELECT $1::bigint AS model_id,
       CASE WHEN s.status = 'Processing' THEN 'Processing'
            WHEN s.status = 'Pending' AND (s.attempt_count = 0 OR t.request_no IS DISTINCT FROM s.request_no)
            THEN 'Pending'
            ELSE coalesce(t.status, 'None') END AS status,
       t.error_message, t.created_at, t.processed_at, t.path, t.size_bytes, t.width, t.height, t.model_hash
  FROM (SELECT) AS one
  LEFT JOIN thumbnails t ON t.model_id = $1
  LEFT JOIN LATERAL (
    SELECT status, request_no, attempt_count FROM job_states WHERE model_id = $1
     ORDER BY request_no DESC LIMIT 1) s ON true;

-- cancel: $1 job_ids
PREPARE cancel (bigint[]) AS
WITH unready AS (
    DELETE FROM ready WHERE job_id = ANY ($1::bigint[]) RETURNING job_id, attempt, lease_seq, NULL::bigint AS worker
), unleased AS (
    DELETE FROM leases WHERE job_id = ANY ($1::bigint[]) RETURNING job_id, attempt, lease_seq, worker
), ended AS MATERIALIZED ( -- else PostgreSQL cannot look at a job again that changed while its lock was waited for
    SELECT * FROM unready UNION ALL SELECT * FROM unleased
), recorded AS (
    UPDATE jobs j SET outcome = 'Cancelled', finished_at = now(), updated_at = now(), attempt_count = e.attempt,
           lease_seq = e.lease_seq
      FROM ended e WHERE j.id = e.job_id
    RETURNING j.id AS job_id, j.model_id, e.attempt, e.lease_seq, e.worker
), buried AS (
    INSERT INTO dead_letters (job_id, status) SELECT job_id, 'Cancelled' FROM recorded
    ON CONFLICT (job_id) DO UPDATE SET status = 'Cancelled', ended_at = now()
)
SELECT job_id, model_id, attempt, lease_seq, worker FROM recorded;

-- cancel_move_head: $1 count
PREPARE cancel_move_head (bigint) AS
UPDATE queue_head SET seq = seq + $1 RETURNING seq - $1 AS before, pg_notify('thumbq', 'log');

-- cancel_announce: $1 seq_before, $2 model_ids, $3 job_ids, $4 attempts
PREPARE cancel_announce (bigint, bigint[], bigint[], smallint[]) AS
WITH news AS (
    SELECT coalesce(t.status, 'None') AS status, count(*) AS count,
           sum(count(*)) OVER (ORDER BY coalesce(t.status, 'None'))::bigint AS upto,
           array_agg(model_id) AS model_ids, array_agg(c.job_id) AS job_ids,
           array_agg(c.attempt) AS attempt_counts, array_agg(t.error_message) AS error_messages
      FROM unnest($2::bigint[], $3::bigint[], $4::smallint[]) AS c (model_id, job_id, attempt)
      LEFT JOIN thumbnails t USING (model_id) GROUP BY 1
)
INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts, error_messages)
SELECT $1 + upto, $1 + upto - count + 1, status, model_ids, job_ids, attempt_counts, error_messages FROM news;

-- claim: $1 limit, $2 sessions, $3 lease_seconds, $4 claim_id
PREPARE claim (bigint, bigint[], integer[], bigint) AS
WITH due AS (
    DELETE FROM ready WHERE job_id = ANY (ARRAY (
        SELECT job_id FROM ready WHERE rank <= now() AND run_at <= now()
         ORDER BY rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING job_id, rank, run_at, attempt, lease_seq
), numbered AS (
    SELECT *, (row_number() OVER (ORDER BY rank, job_id))::int AS position FROM due
), leased AS (
    INSERT INTO leases (job_id, lease_seq, worker, attempt, rank, run_at, claimed_at, expires_at, claim_id)
    SELECT job_id, lease_seq + 1, ($2::bigint[])[position], attempt + 1, rank, run_at, now(),
           now() + ($3::int[])[position] * interval '1 second', $4
      FROM numbered
    RETURNING job_id, lease_seq, attempt
), claimed AS (
    SELECT l.*, j.model_id, j.model_hash, j.priority, j.max_attempts, j.created_at
      FROM leased l JOIN numbered n USING (job_id) JOIN jobs j ON j.id = l.job_id
     ORDER BY n.position
)
SELECT now() AS claimed_at, array_agg(job_id), array_agg(lease_seq), array_agg(model_id), array_agg(model_hash),
       array_agg(attempt), array_agg(priority), array_agg(max_attempts), array_agg(created_at)
  FROM claimed;

-- complete: $1 job_ids, $2 lease_seqs, $3 paths, $4 sizes, $5 widths, $6 heights
PREPARE complete (bigint[], integer[], text[], bigint[], integer[], integer[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bigint[], $5::int[], $6::int[])
        AS i (job_id, lease_seq, path, size_bytes, width, height)
), ended AS (
    DELETE FROM leases l USING input i WHERE l.job_id = i.job_id AND (l.lease_seq = i.lease_seq OR i.lease_seq = 0) AND l.rerun_request_no IS NULL
    RETURNING l.job_id, l.lease_seq, l.attempt, i.lease_seq AS named_seq, i.path, i.size_bytes, i.width, i.height
), recorded AS (
    UPDATE jobs j SET outcome = 'Completed', attempt_count = e.attempt, lease_seq = e.lease_seq,
           error_message = NULL, finished_at = now(), updated_at = now()
      FROM ended e WHERE j.id = e.job_id
    RETURNING e.*, j.model_id, j.model_hash, j.request_no, j.created_at
), shown AS (
    INSERT INTO thumbnails AS t (model_id, job_id, request_no, attempt, status, path, size_bytes, width, height,
                                 model_hash, created_at)
    SELECT DISTINCT ON (model_id) model_id, job_id, request_no, attempt, 'Ready', path, size_bytes, width, height,
           model_hash, created_at
      FROM recorded ORDER BY model_id, request_no DESC
    ON CONFLICT (model_id) DO UPDATE SET job_id = excluded.job_id, request_no = excluded.request_no,
           attempt = excluded.attempt, status = 'Ready', error_message = NULL, next_attempt_at = NULL,
           path = excluded.path, size_bytes = excluded.size_bytes, width = excluded.width, height = excluded.height,
           model_hash = excluded.model_hash, processed_at = now()
     WHERE t.request_no <= excluded.request_no
    RETURNING model_id, job_id, attempt
), 
news AS (
    SELECT count(*) AS count, (SELECT count(*) FROM recorded)::bigint AS completed,
           array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM shown
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
      FROM news WHERE news.count > 0 OR news.completed <> 0
    RETURNING h.seq, pg_notify('thumbq', 'log')
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Ready', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT array_agg(job_id) AS job_ids, array_agg(named_seq) AS named_seqs, array_agg(model_id) AS model_ids
  FROM recorded;

-- complete_and_rerun: $1 job_id, $2 lease_seq, $3 path, $4 size_bytes, $5 width, $6 height
PREPARE complete_and_rerun (bigint, integer, text, bigint, integer, integer) AS
WITH ended AS (
    DELETE FROM leases l WHERE l.job_id = $1 AND l.lease_seq = $2 AND l.rerun_request_no IS NOT NULL
    RETURNING l.job_id, l.lease_seq, l.attempt, l.rerun_request_no
), before AS (
    SELECT e.*, j.model_id, j.model_hash, j.request_no, j.priority, j.created_at
      FROM ended e JOIN jobs j ON j.id = e.job_id FOR UPDATE OF j
), recorded AS (
    UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no), attempt_count = 0,
           lease_seq = e.lease_seq,
           error_message = NULL, updated_at = now()
      FROM ended e WHERE j.id = e.job_id
), again AS (
    INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
    SELECT job_id, now() - priority * interval '60 seconds', now(), 0, lease_seq FROM before
), shown AS (
    INSERT INTO thumbnails AS t (model_id, job_id, request_no, attempt, status, path, size_bytes, width, height,
                                 model_hash, created_at)
    SELECT model_id, job_id, request_no, attempt, 'Ready', $3, $4, $5, $6, model_hash, created_at FROM before
    ON CONFLICT (model_id) DO UPDATE SET job_id = excluded.job_id, request_no = excluded.request_no,
           attempt = excluded.attempt, status = 'Ready', error_message = NULL, next_attempt_at = NULL,
           path = excluded.path, size_bytes = excluded.size_bytes, width = excluded.width, height = excluded.height,
           model_hash = excluded.model_hash, processed_at = now()
     WHERE t.request_no <= excluded.request_no
    RETURNING model_id, job_id, attempt
), 
news AS (
    SELECT count(*) AS count, (0)::bigint AS completed,
           array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM shown
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
      FROM news WHERE news.count > 0 OR news.completed <> 0
    RETURNING h.seq, pg_notify('thumbq', 'jobs')
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Ready', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT model_id FROM before;

-- enqueue: $1 model_ids, $2 model_hashes, $3 priorities, $4 max_attempts, $5 delays
PREPARE enqueue (bigint[], bytea[], smallint[], smallint[], double precision[]) AS
WITH created AS (
    INSERT INTO jobs (model_id, model_hash, priority, max_attempts, due_at)
    SELECT model_id, model_hash, priority, max_attempts, now() + delay * interval '1 second'
      FROM unnest($1::bigint[], $2::bytea[], $3::smallint[], $4::smallint[], $5::float8[])
        AS i (model_id, model_hash, priority, max_attempts, delay)
    ON CONFLICT (model_id, model_hash) DO NOTHING
    RETURNING id AS job_id, model_id, model_hash, priority, max_attempts, created_at, due_at, 0 AS attempt
), queued AS (
    INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
    SELECT job_id, due_at - priority * interval '60 seconds', due_at, 0, 0 FROM created
), 
news AS (
    SELECT count(*) AS count, (0)::bigint AS completed,
           array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM created
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
      FROM news WHERE news.count > 0 OR news.completed <> 0
    RETURNING h.seq, pg_notify('thumbq', 'jobs')
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Pending', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT array_agg(job_id) AS job_ids, array_agg(model_id) AS model_ids, array_agg(model_hash) AS model_hashes
  FROM created;

-- enqueue_and_claim: $1 model_ids, $2 model_hashes, $3 priorities, $4 max_attempts, $5 delays, $6 sessions, $7 lease_seconds, $8 claim_id
PREPARE enqueue_and_claim (bigint[], bytea[], smallint[], smallint[], double precision[], bigint[], integer[], bigint) AS
WITH created AS (
    INSERT INTO jobs (model_id, model_hash, priority, max_attempts, due_at)
    SELECT model_id, model_hash, priority, max_attempts, now() + delay * interval '1 second'
      FROM unnest($1::bigint[], $2::bytea[], $3::smallint[], $4::smallint[], $5::float8[])
        AS i (model_id, model_hash, priority, max_attempts, delay)
    ON CONFLICT (model_id, model_hash) DO NOTHING
    RETURNING id AS job_id, model_id, model_hash, priority, max_attempts, created_at, due_at, 0 AS attempt
), ranked AS (
    SELECT *, due_at - priority * interval '60 seconds' AS rank, due_at <= now() AS is_due FROM created
), numbered AS (
    SELECT *, (row_number() OVER (ORDER BY is_due DESC, rank, job_id))::int AS position FROM ranked
), leased AS (
    INSERT INTO leases (job_id, lease_seq, worker, attempt, rank, run_at, claimed_at, expires_at, claim_id)
    SELECT job_id, 1, ($6::bigint[])[position], 1, rank, due_at, now(),
           now() + ($7::int[])[position] * interval '1 second', $8
      FROM numbered WHERE is_due AND position <= cardinality($6)
), queued AS (
    INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
    SELECT job_id, rank, due_at, 0, 0 FROM numbered WHERE NOT (is_due AND position <= cardinality($6))
    RETURNING job_id
), 
news AS (
    SELECT count(*) AS count, (0)::bigint AS completed,
           array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM created
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
      FROM news WHERE news.count > 0 OR news.completed <> 0
    RETURNING h.seq, pg_notify('thumbq', CASE WHEN (SELECT count(*) FROM queued) > 0 THEN 'jobs' ELSE 'log' END)
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Pending', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT now() AS claimed_at, count(*) FILTER (WHERE is_due) AS due, array_agg(job_id) AS job_ids,
       array_agg(model_id) AS model_ids, array_agg(model_hash) AS model_hashes, array_agg(priority) AS priorities,
       array_agg(max_attempts) AS max_attempts
  FROM (SELECT * FROM numbered ORDER BY position) n;

-- extend: $1 job_ids, $2 lease_seqs, $3 seconds
PREPARE extend (bigint[], integer[], double precision[]) AS
UPDATE leases l SET expires_at = now() + i.seconds * interval '1 second'
  FROM unnest($1::bigint[], $2::int[], $3::float8[]) AS i (job_id, lease_seq, seconds)
 WHERE l.job_id = i.job_id AND (l.lease_seq = i.lease_seq OR i.lease_seq = 0)
RETURNING l.job_id, l.lease_seq, l.expires_at;

-- fail: $1 job_ids, $2 lease_seqs, $3 error_messages, $4 retryable, $5 retry_delays, $6 backoffs, $7 jitters
PREPARE fail (bigint[], integer[], text[], boolean[], double precision[], double precision[], double precision[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bool[], $5::float8[], $7::float8[])
        AS i (job_id, lease_seq, error_message, retryable, retry_delay, jitter)
), ended AS (
    DELETE FROM leases l USING input i WHERE l.job_id = i.job_id AND (l.lease_seq = i.lease_seq OR i.lease_seq = 0)
    RETURNING l.*, i.lease_seq AS named_seq, i.error_message, i.retryable,
              make_interval(secs => coalesce(i.retry_delay, ($6::float8[])[l.attempt] * i.jitter)) AS backoff
), decided AS (
    SELECT e.*, j.model_id, j.priority, j.request_no, j.created_at,
           e.rerun_request_no IS NOT NULL AS rerun,
           e.rerun_request_no IS NOT NULL OR (e.retryable AND e.attempt < j.max_attempts) AS will_retry,
           now() + CASE WHEN e.rerun_request_no IS NULL THEN e.backoff ELSE '0' END AS next_run_at
      FROM ended e JOIN jobs j ON j.id = e.job_id FOR UPDATE OF j
), recorded AS (
    UPDATE jobs j SET outcome = CASE WHEN d.will_retry THEN NULL ELSE 'Failed' END,
           finished_at = CASE WHEN d.will_retry THEN NULL ELSE now() END,
           attempt_count = CASE WHEN d.rerun THEN 0 ELSE d.attempt END,
           request_no = greatest(j.request_no, d.rerun_request_no),
           lease_seq = d.lease_seq, error_message = d.error_message, updated_at = now()
      FROM decided d WHERE j.id = d.job_id
), again AS (
    INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
    SELECT job_id, next_run_at - priority * interval '60 seconds', next_run_at, CASE WHEN rerun THEN 0 ELSE attempt END,
           lease_seq
      FROM decided WHERE will_retry
), buried AS (
    INSERT INTO dead_letters (job_id, status) SELECT job_id, 'Failed' FROM decided WHERE NOT will_retry
    ON CONFLICT (job_id) DO UPDATE SET status = 'Failed', ended_at = now()
), shown AS (
    INSERT INTO thumbnails AS t (model_id, job_id, request_no, attempt, status, error_message, next_attempt_at,
                                 created_at)
    SELECT DISTINCT ON (model_id) model_id, job_id, request_no, attempt, 'Failed', error_message,
           CASE WHEN will_retry THEN next_run_at END, created_at
      FROM decided ORDER BY model_id, request_no DESC
    ON CONFLICT (model_id) DO UPDATE SET job_id = excluded.job_id, request_no = excluded.request_no,
           attempt = excluded.attempt, status = 'Failed', error_message = excluded.error_message,
           next_attempt_at = excluded.next_attempt_at, processed_at = now()
     WHERE t.request_no <= excluded.request_no
    RETURNING model_id, job_id, attempt, error_message, next_attempt_at
), 
news AS (
    SELECT count(*) AS count, (0)::bigint AS completed,
           array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           array_agg(error_message) AS error_messages, array_agg(next_attempt_at) AS next_attempt_ats
      FROM shown
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
      FROM news WHERE news.count > 0 OR news.completed <> 0
    RETURNING h.seq, pg_notify('thumbq', 'jobs')
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Failed', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT job_id, named_seq, model_id,
       CASE WHEN will_retry THEN extract(epoch FROM next_run_at - now())::float8 END AS due_in
  FROM decided;

-- expire: $1 limit, $2 backoffs, $3 jitter
PREPARE expire (bigint, double precision[], double precision) AS
WITH overdue AS (
    SELECT job_id FROM leases WHERE expires_at <= now() ORDER BY job_id LIMIT $1 FOR UPDATE SKIP LOCKED
), ended AS (
    DELETE FROM leases l USING overdue o WHERE l.job_id = o.job_id
    RETURNING l.*, l.lease_seq AS named_seq,
              'Lease expired: worker ' || coalesce((SELECT w.worker_id FROM workers w WHERE w.id = l.worker), '?')
              || ' stopped responding' AS error_message,
              true AS retryable, make_interval(secs => ($2::float8[])[l.attempt] * $3) AS backoff
), decided AS (
    SELECT e.*, j.model_id, j.priority, j.request_no, j.created_at,
           e.rerun_request_no IS NOT NULL AS rerun,
           e.rerun_request_no IS NOT NULL OR (e.retryable AND e.attempt < j.max_attempts) AS will_retry,
           now() + CASE WHEN e.rerun_request_no IS NULL THEN e.backoff ELSE '0' END AS next_run_at
      FROM ended e JOIN jobs j ON j.id = e.job_id FOR UPDATE OF j
), recorded AS (
    UPDATE jobs j SET outcome = CASE WHEN d.will_retry THEN NULL ELSE 'Failed' END,
           finished_at = CASE WHEN d.will_retry THEN NULL ELSE now() END,
           attempt_count = CASE WHEN d.rerun THEN 0 ELSE d.attempt END,
           request_no = greatest(j.request_no, d.rerun_request_no),
           lease_seq = d.lease_seq, error_message = d.error_message, updated_at = now()
      FROM decided d WHERE j.id = d.job_id
), again AS (
    INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
    SELECT job_id, next_run_at - priority * interval '60 seconds', next_run_at, CASE WHEN rerun THEN 0 ELSE attempt END,
           lease_seq
      FROM decided WHERE will_retry
), buried AS (
    INSERT INTO dead_letters (job_id, status) SELECT job_id, 'Failed' FROM decided WHERE NOT will_retry
    ON CONFLICT (job_id) DO UPDATE SET status = 'Failed', ended_at = now()
), shown AS (
    INSERT INTO thumbnails AS t (model_id, job_id, request_no, attempt, status, error_message, next_attempt_at,
                                 created_at)
    SELECT DISTINCT ON (model_id) model_id, job_id, request_no, attempt, 'Failed', error_message,
           CASE WHEN will_retry THEN next_run_at END, created_at
      FROM decided ORDER BY model_id, request_no DESC
    ON CONFLICT (model_id) DO UPDATE SET job_id = excluded.job_id, request_no = excluded.request_no,
           attempt = excluded.attempt, status = 'Failed', error_message = excluded.error_message,
           next_attempt_at = excluded.next_attempt_at, processed_at = now()
     WHERE t.request_no <= excluded.request_no
    RETURNING model_id, job_id, attempt, error_message, next_attempt_at
), 
news AS (
    SELECT count(*) AS count, (0)::bigint AS completed,
           array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           array_agg(error_message) AS error_messages, array_agg(next_attempt_at) AS next_attempt_ats
      FROM shown
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
      FROM news WHERE news.count > 0 OR news.completed <> 0
    RETURNING h.seq, pg_notify('thumbq', 'jobs')
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Failed', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT job_id, named_seq, model_id,
       CASE WHEN will_retry THEN extract(epoch FROM next_run_at - now())::float8 END AS due_in
  FROM decided;

-- release: $1 job_ids, $2 lease_seqs
PREPARE release (bigint[], integer[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::int[]) AS i (job_id, lease_seq)
), ended AS (
    DELETE FROM leases l USING input i WHERE l.job_id = i.job_id AND (l.lease_seq = i.lease_seq OR i.lease_seq = 0)
    RETURNING l.*, i.lease_seq AS named_seq
), again AS (
    INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
    SELECT job_id, rank, run_at, CASE WHEN rerun_request_no IS NULL THEN attempt - 1 ELSE 0 END, lease_seq
      FROM ended
), renumbered AS (
    UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no)
      FROM ended e WHERE j.id = e.job_id AND e.rerun_request_no IS NOT NULL
), notified AS (
    SELECT pg_notify('thumbq', 'jobs') FROM ended LIMIT 1
)
SELECT job_id, named_seq, (SELECT count(*) FROM notified) FROM ended;

-- release_claim: $1 claim_id
PREPARE release_claim (bigint) AS
WITH ended AS (
    DELETE FROM leases l WHERE l.claim_id = $1 RETURNING l.*, l.lease_seq AS named_seq
), again AS (
    INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
    SELECT job_id, rank, run_at, CASE WHEN rerun_request_no IS NULL THEN attempt - 1 ELSE 0 END, lease_seq
      FROM ended
), renumbered AS (
    UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no)
      FROM ended e WHERE j.id = e.job_id AND e.rerun_request_no IS NOT NULL
), notified AS (
    SELECT pg_notify('thumbq', 'jobs') FROM ended LIMIT 1
)
SELECT job_id, named_seq, (SELECT count(*) FROM notified) FROM ended;

-- revive_reset: $1 job_ids, $2 request_nos, $3 lease_seqs, $4 priorities, $5 max_attempts, $6 delays
PREPARE revive_reset (bigint[], bigint[], integer[], smallint[], smallint[], double precision[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::smallint[], $5::smallint[], $6::float8[])
        AS i (job_id, request_no, lease_seq, priority, max_attempts, delay)
), before AS (
    SELECT i.*, j.outcome FROM jobs j JOIN input i ON j.id = i.job_id
     WHERE j.request_no = i.request_no AND j.outcome IS NOT NULL ORDER BY j.id FOR UPDATE OF j
), changed AS (
    UPDATE jobs j SET outcome = NULL, finished_at = NULL, error_message = NULL, attempt_count = 0,
           request_no = nextval('request_seq'), priority = b.priority, max_attempts = b.max_attempts,
           due_at = now() + b.delay * interval '1 second', updated_at = now()
      FROM before b WHERE j.id = b.job_id
    RETURNING j.id AS job_id, j.model_id, j.priority, j.lease_seq, j.due_at, b.outcome, 0 AS attempt
), exhumed AS (
    DELETE FROM dead_letters d USING changed c WHERE d.job_id = c.job_id
), queued AS (
    INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
    SELECT job_id, due_at - priority * interval '60 seconds', due_at, 0, lease_seq FROM changed
), 
news AS (
    SELECT count(*) AS count, (-(SELECT count(*) FROM changed WHERE outcome = 'Completed'))::bigint AS completed,
           array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM changed
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
      FROM news WHERE news.count > 0 OR news.completed <> 0
    RETURNING h.seq, pg_notify('thumbq', 'jobs')
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Pending', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT job_id FROM changed;

-- revive_restart: $1 job_ids, $2 request_nos, $3 lease_seqs, $4 priorities, $5 max_attempts, $6 delays
PREPARE revive_restart (bigint[], bigint[], integer[], smallint[], smallint[], double precision[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::smallint[], $5::smallint[], $6::float8[])
        AS i (job_id, request_no, lease_seq, priority, max_attempts, delay)
), restarted AS (
    UPDATE ready r SET attempt = 0, run_at = now() + make_interval(secs => i.delay),
           rank = (now() + make_interval(secs => i.delay)) - i.priority * interval '60 seconds'
      FROM input i WHERE r.job_id = i.job_id AND r.lease_seq = i.lease_seq AND r.attempt > 0
    RETURNING r.job_id, i.priority, i.max_attempts
), changed AS (
    UPDATE jobs j SET error_message = NULL, request_no = nextval('request_seq'), priority = r.priority,
           max_attempts = r.max_attempts, updated_at = now()
      FROM restarted r WHERE j.id = r.job_id
    RETURNING j.id AS job_id, j.model_id, 0 AS attempt
), 
news AS (
    SELECT count(*) AS count, (0)::bigint AS completed,
           array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM changed
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
      FROM news WHERE news.count > 0 OR news.completed <> 0
    RETURNING h.seq, pg_notify('thumbq', 'jobs')
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Pending', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT job_id FROM changed;

-- revive_rerun: $1 job_ids, $2 request_nos, $3 lease_seqs, $4 priorities, $5 max_attempts, $6 delays
PREPARE revive_rerun (bigint[], bigint[], integer[], smallint[], smallint[], double precision[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::smallint[], $5::smallint[], $6::float8[])
        AS i (job_id, request_no, lease_seq, priority, max_attempts, delay)
)
UPDATE leases l SET rerun_request_no = nextval('request_seq')
  FROM input i WHERE l.job_id = i.job_id AND l.lease_seq = i.lease_seq
RETURNING l.job_id;

-- retry_find: $1 job_ids
PREPARE retry_find (bigint[]) AS
SELECT id AS job_id, status, attempt_count, request_no, lease_seq, priority, max_attempts
  FROM job_states WHERE id = ANY ($1) ORDER BY id;

-- revive_find: $1 model_ids, $2 model_hashes
PREPARE revive_find (bigint[], bytea[]) AS
SELECT s.id AS job_id, s.model_id, s.model_hash, s.status, s.attempt_count, s.lease_seq, s.request_no,
       t.job_id IS NOT NULL AS shown,
       NOT EXISTS (
         SELECT FROM jobs o LEFT JOIN leases l ON l.job_id = o.id
          WHERE o.model_id = s.model_id AND o.id <> s.id
            AND greatest(o.request_no, l.rerun_request_no) > s.request_no) AS newest
  FROM unnest($1::bigint[], $2::bytea[]) AS i (model_id, model_hash)
  JOIN job_states s USING (model_id, model_hash)
  LEFT JOIN thumbnails t ON t.model_id = s.model_id AND t.job_id = s.id AND t.status = 'Ready';

-- revive_renew: $1 job_ids, $2 request_nos, $3 lease_seqs, $4 priorities, $5 max_attempts, $6 delays
PREPARE revive_renew (bigint[], bigint[], integer[], smallint[], smallint[], double precision[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::smallint[], $5::smallint[], $6::float8[])
        AS i (job_id, request_no, lease_seq, priority, max_attempts, delay)
)
UPDATE jobs j SET request_no = nextval('request_seq')
  FROM input i WHERE j.id = i.job_id AND j.request_no = i.request_no
RETURNING j.id AS job_id;

-- revive_renew_shown: $1 job_ids
PREPARE revive_renew_shown (bigint[]) AS
WITH renewed AS (
    SELECT j.id, j.model_id, j.request_no
      FROM jobs j JOIN thumbnails t ON t.model_id = j.model_id AND t.job_id = j.id
     WHERE j.id = ANY ($1::bigint[]) ORDER BY t.model_id FOR UPDATE OF t
)
UPDATE thumbnails t SET request_no = r.request_no
  FROM renewed r WHERE t.model_id = r.model_id AND t.job_id = r.id;

-- job_states_of: $1 job_ids
PREPARE job_states_of (bigint[]) AS
SELECT id, model_id, status, lease_seq FROM job_states WHERE id = ANY ($1);

-- workers_register: $1 worker_id, $2 session_id, $3 version, $4 labels
PREPARE workers_register (text, text, text, jsonb) AS
INSERT INTO workers AS w (worker_id, session_id, version, labels) VALUES ($1, $2, $3, $4)
ON CONFLICT (worker_id, session_id) DO UPDATE SET last_seen_at = now(), version = $3, labels = $4
RETURNING id;

-- workers_confirm: $1 sessions, $2 seconds_ago, $3 lease_seconds
PREPARE workers_confirm (bigint[], double precision[], double precision) AS
UPDATE leases l SET expires_at = greatest(l.expires_at, l.claimed_at + $3::float8 * interval '1 second')
  FROM unnest($1::bigint[], $2::float8[]) AS i (session, seconds_ago)
  JOIN workers w ON w.id = i.session AND w.session_id = ''
 WHERE l.worker = i.session AND l.claimed_at < now() - i.seconds_ago * interval '1 second';

-- workers_prune: $1 gone_seconds, $2 limit
PREPARE workers_prune (double precision, bigint) AS
WITH pruned AS (
    DELETE FROM workers WHERE id = ANY (ARRAY (
        SELECT id FROM workers w
         WHERE last_seen_at < now() - make_interval(secs => $1)
           AND NOT EXISTS (SELECT FROM leases l WHERE l.worker = w.id)
         LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING 1
)
SELECT count(*) AS count FROM pruned;

-- workers_record_heartbeats: $1 sessions
PREPARE workers_record_heartbeats (bigint[]) AS
UPDATE workers SET last_seen_at = now() WHERE id = ANY ($1);
