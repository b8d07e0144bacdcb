"""Lua scripts that read or change a map atomically.

See engines, "Other keys in Redis".

The keys of a map, in this order: stream of changes, meta (epoch ``e`` and top ``s``),
state (entries by key), expiries, state meta (the epoch of the state, and the versions
of keys), and the list of maps with expiring keys.  All times are in milliseconds.

A state whose epoch differs from that of meta is obsolete, and counts as empty.
"""

from .scripts import Script

__all__ = [
    "ALL_OF_MAPS",
    "CLEAR_MAP",
    "EXPIRE_KEYS",
    "PUBLISH_KEY",
    "READ_CHANGES",
    "READ_STATE",
    "REMOVE_KEY",
]

_KEYS = b"""
local stream, meta, state, expiries = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local state_meta, maps_due = KEYS[5], KEYS[6]
"""

#: List the map under the expiry time of its next key.
_DUE = b"""
local function list(channel)
  local first = redis.call('ZRANGE', expiries, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', maps_due, first[2], channel)
  else
    redis.call('ZREM', maps_due, channel)
  end
end
"""

#: Extract the tags, which are field 7, from an entry, still encoded.
_TAGS = b"""
local function tags_of(entry)
  local _, at = string.find(entry, '^%d+:[^:]*:')
  if not at then
    return ''
  end
  at = at + 1
  local found = {}
  local function number()
    local value, unit = 0, 1
    while at <= #entry do
      local byte = string.byte(entry, at)
      at = at + 1
      value = value + (byte % 128) * unit
      if byte < 128 then
        return value
      end
      unit = unit * 128
    end
  end
  while at <= #entry do
    local start, tag = at, number()
    local kind = tag and tag % 8
    if kind == 0 then
      if not number() then break end
    elseif kind == 2 then
      local length = number()
      if not length then break end
      at = at + length
    elseif kind == 1 then
      at = at + 8
    elseif kind == 5 then
      at = at + 4
    else
      break
    end
    if tag == 58 and at <= #entry + 1 then
      found[#found + 1] = string.sub(entry, start, at - 1)
    end
  end
  return table.concat(found)
end
"""

#: Number a change, store it, and publish it.
_RECORD = b"""
local function record(payload, before)
  local offset = 0
  if streamed then
    offset = redis.call('HINCRBY', meta, 's', 1)
    if meta_ttl ~= '0' then
      redis.call('PEXPIRE', meta, meta_ttl)
    end
    if offset == 1 then
      redis.call('DEL', stream)
    end
    redis.call('XADD', stream, 'MAXLEN', size, offset, 'e', epoch, 'd', payload)
    redis.call('PEXPIRE', stream, stream_ttl)
  end
  if messages ~= '' then
    local message = offset .. ':' .. epoch .. ':'
    if before then
      message = 'd:' .. message .. #before .. ':' .. before .. ':' .. #payload .. ':'
    end
    redis.call('PUBLISH', messages, message .. payload)
  end
  return offset
end
"""

#: Arguments of both: `ChangeMap`.
_BEGIN = (
    _KEYS
    + b"""
local result = KEYS[7]
local key, payload, messages, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local epoch, size, stream_ttl, meta_ttl = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local result_ttl, streamed = ARGV[9], ARGV[6] ~= '0'
local known = streamed and redis.call('HGET', meta, 'e')
if result_ttl ~= '' then
  local earlier = redis.call('HMGET', result, 's', 'e')
  if earlier[2] and (not streamed or earlier[2] == known) then
    return {earlier[1], earlier[2], 'idempotency'}
  end
end
local function refuse(reason, entry)
  local top = streamed and redis.call('HGET', meta, 's') or '0'
  return {top, epoch, reason, entry or ''}
end
local function stands_elsewhere(entry)
  if ARGV[10] == '' then
    return false
  end
  return not (entry and ARGV[11] == epoch
    and string.match(entry, '^(%d+):') == ARGV[10])
end
local function finish(offset)
  if result_ttl ~= '' then
    redis.call('HSET', result, 'e', epoch, 's', offset)
    redis.call('PEXPIRE', result, result_ttl)
  end
  return {offset, epoch, ''}
end
"""
    + _DUE
    + _RECORD
)

#: Key 7: result.  Further arguments: `PublishKey`. Versions of up to 20 digits are
#: compared as text, because Lua's numbers are exact only up to 53 bits.
PUBLISH_KEY = Script(
    _BEGIN
    + b"""
local key_ttl, due, now, delta = ARGV[12], ARGV[13], ARGV[14], ARGV[15]
local version, version_epoch, mode = ARGV[16], ARGV[17], ARGV[18]
local function live()
  if key_ttl ~= '0' then
    redis.call('ZADD', expiries, due, key)
    list(channel)
  elseif redis.call('ZREM', expiries, key) == 1 then
    list(channel)
  end
  if meta_ttl ~= '0' then
    redis.call('PEXPIRE', meta, meta_ttl)
    redis.call('PEXPIRE', state, meta_ttl)
    redis.call('PEXPIRE', expiries, meta_ttl)
    redis.call('PEXPIRE', state_meta, meta_ttl)
  end
end
if streamed then
  if known then
    epoch = known
  else
    redis.call('HSET', meta, 'e', epoch)
    if meta_ttl ~= '0' then
      redis.call('PEXPIRE', meta, meta_ttl)
    end
  end
  if redis.call('HGET', state_meta, 'epoch') ~= epoch then
    if redis.call('DEL', state, expiries, state_meta) > 0 then
      redis.call('ZREM', maps_due, channel)
    end
  end
  if version ~= '0' then
    local stored = redis.call('HMGET', state_meta, 'v:' .. key, 've:' .. key)
    local old = stored[1]
    if old and (version_epoch == '' or version_epoch == stored[2])
        and not (#version > #old or (#version == #old and version > old)) then
      return refuse('version')
    end
  end
end
local entry = redis.call('HGET', state, key)
if mode == 'if_new' and entry then
  if ARGV[19] == '1' and key_ttl ~= '0' then
    live()
  end
  return refuse('key_exists')
end
if mode == 'if_exists' and not entry then
  return refuse('key_not_found')
end
if stands_elsewhere(entry) then
  return refuse('position_mismatch', entry)
end
local offset = record(payload, delta == '1' and entry)
redis.call('HSET', state, key, offset .. ':' .. epoch .. ':' .. payload)
if streamed then
  redis.call('HSET', state_meta, 'epoch', epoch, 'updated_at', now)
  if version ~= '0' then
    redis.call('HSET', state_meta, 'v:' .. key, version, 've:' .. key, version_epoch)
  end
end
live()
return finish(offset)
""",
    b"7",
)

#: Key 7: result.  Further argument: "1" to add the tags of the key.
REMOVE_KEY = Script(
    _BEGIN
    + _TAGS
    + b"""
local entry = redis.call('HGET', state, key)
if streamed then
  epoch = known or ''
  if not known or redis.call('HGET', state_meta, 'epoch') ~= epoch then
    entry = false
  end
else
  epoch = entry and epoch or ''
end
if stands_elsewhere(entry) then
  return refuse('position_mismatch', entry)
end
if not entry then
  return refuse('key_not_found')
end
if ARGV[12] == '1' then
  payload = payload .. tags_of(entry)
end
local offset = record(payload)
redis.call('HDEL', state, key)
redis.call('HDEL', state_meta, 'v:' .. key, 've:' .. key)
if redis.call('ZREM', expiries, key) == 1 then
  list(channel)
end
return finish(offset)
""",
    b"7",
)

#: Key 7: order.  Arguments: `ExpireKeys`.
EXPIRE_KEYS = Script(
    _KEYS
    + b"""
local most, messages, channel = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local epoch, size, stream_ttl, meta_ttl = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local streamed = size ~= '0'
"""
    + _DUE
    + _RECORD
    + _TAGS
    + b"""
local function key_field(key)
  local length, out = #key, 'Z'
  while length >= 128 do
    out = out .. string.char(length % 128 + 128)
    length = math.floor(length / 128)
  end
  return out .. string.char(length) .. key
end
local over = redis.call('ZRANGEBYSCORE', expiries, '0', ARGV[1], 'LIMIT', 0, most)
if streamed and #over > 0 then
  local known = redis.call('HGET', meta, 'e')
  if known then
    epoch = known
  else
    redis.call('HSET', meta, 'e', epoch)
  end
end
for _, key in ipairs(over) do
  local entry = redis.call('HGET', state, key)
  record(ARGV[9] .. (entry and tags_of(entry) or '') .. key_field(key))
  redis.call('HDEL', state, key)
  redis.call('ZREM', expiries, key)
  redis.call('ZREM', KEYS[7], key)
  redis.call('HDEL', state_meta, 'v:' .. key, 've:' .. key)
end
list(channel)
return #over
""",
    b"7",
)

_POSITION = b"""
local meta = KEYS[2]
local known = redis.call('HMGET', meta, 'e', 's')
local epoch, top = known[1], known[2] or '0'
if not epoch then
  epoch, top = ARGV[2], '0'
  redis.call('HSET', meta, 'e', epoch)
  redis.call('DEL', KEYS[1])
end
if ARGV[1] ~= '0' then
  redis.call('PEXPIRE', meta, ARGV[1])
end
"""

#: Arguments: `ReadStream`.
READ_CHANGES = Script(
    _POSITION
    + b"""
local first, limit = ARGV[3], ARGV[4]
if first == '' then
  return {top, epoch, {}}
end
local command, last = 'XRANGE', '+'
if ARGV[5] == '1' then
  command, last = 'XREVRANGE', '-'
end
if limit == '0' then
  return {top, epoch, redis.call(command, KEYS[1], first, last)}
end
return {top, epoch, redis.call(command, KEYS[1], first, last, 'COUNT', limit)}
""",
    b"2",
)

#: Arguments: meta TTL, epoch for a new map, cursor, approximate number of entries ("0":
#: none), key ("": many), "1": the map has no stream.
READ_STATE = Script(
    b"""
local state, state_meta = KEYS[3], KEYS[5]
local epoch, top = '', '0'
local function read_state()
  if ARGV[5] ~= '' then
    local entry = redis.call('HGET', state, ARGV[5])
    return {top, epoch, '0', entry and {ARGV[5], entry} or {}}
  end
  if ARGV[4] == '0' then
    return {top, epoch, '0', {}}
  end
  local page = redis.call('HSCAN', state, ARGV[3], 'COUNT', ARGV[4])
  return {top, epoch, page[1], page[2]}
end
if ARGV[6] == '1' then
  return read_state()
end
"""
    + _POSITION.replace(b"local epoch, top = known", b"epoch, top = known")
    + b"""
if redis.call('HGET', state_meta, 'epoch') ~= epoch then
  return {top, epoch, '0', {}}
end
if ARGV[1] ~= '0' then
  redis.call('PEXPIRE', state, ARGV[1])
  redis.call('PEXPIRE', KEYS[4], ARGV[1])
  redis.call('PEXPIRE', state_meta, ARGV[1])
end
return read_state()
""",
    b"5",
)

#: Key 7: order.  Arguments: channel, the PUB/SUB channel of cleared maps ("": none).
CLEAR_MAP = Script(
    _KEYS
    + b"""
local gone = redis.call('DEL', stream, meta, state, expiries, state_meta, KEYS[7])
redis.call('ZREM', maps_due, ARGV[1])
if gone > 0 and ARGV[2] ~= '' then
  redis.call('PUBLISH', ARGV[2], ARGV[1])
end
return gone
""",
    b"7",
)

ALL_OF_MAPS = (
    PUBLISH_KEY,
    REMOVE_KEY,
    EXPIRE_KEYS,
    READ_CHANGES,
    READ_STATE,
    CLEAR_MAP,
)
