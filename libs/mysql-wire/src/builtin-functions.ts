/*
 * Functions that come with MySQL 8 and 9, MariaDB 10 and 11 and TiDB and leave nothing behind in the session. A name that is followed by a
 * parenthesis and stands neither here nor among the words below is a stored or loaded function, of which nothing is known.
 */
const names = `
  abs acos adddate addtime aes_decrypt aes_encrypt any_value area as_binary ascii asbinary astext aswkb aswkt asin atan atan2 avg
  benchmark bin bin_to_uuid binlog_gtid_pos bit_and bit_count bit_length bit_or bit_xor
  buffer can_access_column cast ceil ceiling centroid char char_length character_length charset chr coalesce coercibility collation column_add
  column_check column_create column_delete column_exists column_get column_json column_list compress concat concat_operator_oracle concat_ws
  connection_id contains conv convert convert_tz cos cot count crc32 crc32c crosses cume_dist curdate current_date current_role current_time
  current_timestamp current_user curtime database date date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear
  decode decode_histogram decode_oracle default degrees dense_rank des_decrypt des_encrypt dimension disjoint distance elt encode encrypt endpoint
  envelope equals exp export_set exteriorring extract extractvalue field find_in_set first_value floor format format_bytes format_pico_time from_base64
  from_days from_unixtime from_vector geomcollfromtext geomcollfromwkb geometrycollection geometryn geometrytype geomfromtext geomfromwkb
  get_format glength greatest group_concat grouping gtid_subset gtid_subtract hex hour if ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa
  insert instr interiorringn intersects is_free_lock is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 is_used_lock is_uuid isclosed isempty
  isnull isring issimple json_array json_array_append json_array_insert json_arrayagg json_array_intersect json_compact json_contains json_contains_path json_depth
  json_detailed json_equals json_exists json_extract json_insert json_key_value json_keys json_length json_loose load_file icu_version statement_digest statement_digest_text ps_thread_id ps_current_thread_id json_merge
  json_merge_patch json_merge_preserve json_normalize json_object json_object_filter_keys json_object_to_array json_objectagg json_overlaps json_pretty json_query
  json_quote json_remove json_replace json_schema_valid json_schema_validation_report json_search json_set json_storage_free json_storage_size json_table
  json_type json_unquote json_valid json_value kdf lag last_day last_value lcase lead least left length lengthb like_range_min
  linefromtext linefromwkb linestring linestringfromtext linestringfromwkb ln localtime localtimestamp locate log log10 log2 lower lpad
  lpad_oracle ltrim ltrim_oracle make_set makedate maketime master_gtid_wait master_pos_wait match max mbrcontains mbrcoveredby mbrcovers
  mbrdisjoint mbrequal mbrequals mbrintersects mbroverlaps mbrtouches mbrwithin md5 median microsecond mid min minute mod month monthname
  mpointfromtext multilinestring multipoint multipolygon name_const natural_sort_key now nth_value ntile nullif numgeometries numinteriorrings
  numpoints nvl nvl2 oct octet_length ord overlaps password percent_rank percentile_cont percentile_disc period_add period_diff pi point
  pointfromtext pointfromwkb pointn pointonsurface polyfromtext polygon polygonfromtext position pow power quarter quote radians rand
  random_bytes rank regexp_instr regexp_like regexp_replace regexp_substr repeat replace replace_oracle reverse right roles_graphml round
  row_number rpad rpad_oracle rtrim rtrim_oracle schema sec_to_time second session_user sformat sha sha1 sha2 sign sin sleep soundex
  source_pos_wait space sqrt srid st_area st_asbinary st_asgeojson st_astext st_aswkb st_aswkt st_boundary st_buffer st_buffer_strategy
  st_centroid st_contains st_convexhull st_crosses st_difference st_dimension st_disjoint st_distance st_distance_sphere st_endpoint
  st_envelope st_equals st_exteriorring st_frechetdistance st_geohash st_geomcollfromtext st_geometryn st_geometrytype st_geomfromgeojson
  st_geomfromtext st_geomfromwkb st_hausdorffdistance st_interiorringn st_intersection st_intersects st_isclosed st_isempty st_isring
  st_issimple st_isvalid st_latfromgeohash st_latitude st_length st_linefromtext st_lineinterpolatepoint st_longfromgeohash st_longitude
  st_makeenvelope st_numgeometries st_numinteriorrings st_numpoints st_overlaps st_pointfromgeohash st_pointfromtext st_pointn
  st_pointonsurface st_polyfromtext st_relate st_simplify st_srid st_startpoint st_swapxy st_symdifference st_touches st_transform st_union
  st_validate st_within st_x st_y startpoint std stddev stddev_pop stddev_samp str_to_date strcmp string_to_vector subdate substr substr_oracle
  substring substring_index subtime sum sys_guid sysdate system_user tan tidb_bounded_staleness tidb_decode_key tidb_decode_plan tidb_is_ddl_owner
  tidb_parse_tso tidb_shard tidb_version time time_format time_to_sec timediff timestamp timestampadd timestampdiff to_base64 to_char to_date
  to_days to_number to_seconds touches translate trim trim_oracle trunc truncate ucase uncompress uncompressed_length unhex unix_timestamp
  updatexml upper user utc_date utc_time utc_timestamp uuid uuid_short uuid_to_bin uuid_v4 uuid_v7 validate_password_strength value values
  var_pop var_samp variance vec_cosine_distance vec_distance vec_distance_cosine vec_distance_euclidean vec_dims vec_fromtext
  vec_l2_distance vec_totext vector_dim vector_to_string version wait_for_executed_gtid_set wait_until_sql_thread_after_gtids
  week weekday weekofyear weight_string within wsrep_last_seen_gtid wsrep_last_written_gtid wsrep_sync_wait_upto_gtid x xor y year yearweek
`;

/**
 * Reserved words of both families after which a parenthesis may stand in a query. Words that are not reserved are missing on purpose:
 * a stored function may have their names (`hash`, `text`, `comment`).
 */
const syntax = `
  all and as between binary by case char distinct distinctrow div else exists for from group having in index insert interval into is join key keys
  left like limit lines match mod not null on or order over partition procedure regexp replace right rlike row rows select set
  straight_join table then union unique update use using values when where with xor
`;

const wordsOf = (text: string): Set<string> => new Set(text.trim().split(/\s+/));

const builtin = wordsOf(names);
const syntaxWords = wordsOf(syntax);

/** @param name in lower case, without quotes or schema */
export function isBuiltinFunction(name: string): boolean {
  return builtin.has(name);
}

/** Whether an unquoted word (in lower case) is part of the grammar, so that a parenthesis behind it is no call. */
export function isSyntaxWord(word: string): boolean {
  return syntaxWords.has(word);
}
