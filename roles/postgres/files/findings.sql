-- SPDX-License-Identifier: GPL-3.0-or-later
-- What stands between the files and what is in force. No row: nothing does.
SELECT 'restart' AS kind, name AS message
  FROM pg_settings WHERE pending_restart
UNION ALL
SELECT 'overridden',
       name || ' comes from ' || coalesce(sourcefile || ' line ' || sourceline, source)
            || ' (ALTER SYSTEM RESET ' || name || ', or set it in the inventory)'
  FROM pg_settings
 WHERE name = ANY(string_to_array(%(names)s, ',')) AND NOT pending_restart AND sourcefile IS DISTINCT FROM %(file)s
UNION ALL
SELECT 'error', sourcefile || ' line ' || sourceline || ': ' || error
  FROM pg_file_settings
 WHERE error IS NOT NULL AND name NOT IN (SELECT name FROM pg_settings WHERE pending_restart)
UNION ALL
SELECT 'error', file_name || ' line ' || line_number || ': ' || error
  FROM pg_hba_file_rules WHERE error IS NOT NULL
