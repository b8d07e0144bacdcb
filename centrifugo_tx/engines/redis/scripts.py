"""Lua scripts that change several keys atomically (engines, "Redis scripts").

Nodes of Centrifugo run other scripts on the same keys, so both must leave the keys in
the same state.
"""

from hashlib import sha1

from attrs import define, field

from .connection import CommandProtocol, bulk, ignore_result

__all__ = [
    "ADD_PRESENCE",
    "ALL_SCRIPTS",
    "HISTORY_LIST",
    "HISTORY_STREAM",
    "PRESENCE",
    "PRESENCE_STATS",
    "PUBLISH_LIST",
    "PUBLISH_ONCE",
    "PUBLISH_STREAM",
    "REMOVE_PRESENCE",
    "STORE_DEPARTURE",
    "Script",
    "load_scripts",
]


@define(eq=False)
class Script:
    """A Lua script, and the hash under which Redis stores it.

    :param keys: the number of its keys.
    """

    source: bytes
    keys: bytes
    sha: bytes = field(init=False)
    _evalsha: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.sha = sha1(self.source, usedforsecurity=False).hexdigest().encode()
        self._evalsha = bulk(b"EVALSHA", self.sha, self.keys)

    def by_hash(self, count: int, arguments: bytes) -> bytes:
        """Encode the command that runs the script if the server knows it.

        :param count: how many keys and arguments there are.
        :param arguments: all keys, followed by all arguments, encoded by `bulk`.
        """
        return b"*%d\r\n%b%b" % (count + 3, self._evalsha, arguments)

    def by_source(self, count: int, arguments: bytes) -> bytes:
        """Encode the command that runs the script on any server."""
        evaluate = bulk(b"EVAL", self.source, self.keys)
        return b"*%d\r\n%b%b" % (count + 3, evaluate, arguments)


# --- Publishing ---------------------------------------------------------------

#: The common start of the publish scripts: the earlier result, and the epoch.
_BEGIN = b"""
local history, meta, result = KEYS[1], KEYS[2], KEYS[3]
local payload, channel, size, ttl = ARGV[1], ARGV[2], ARGV[6], ARGV[7]
local meta_ttl, publish, result_ttl, delta = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
if result_ttl ~= '' then
  local known = redis.call('HMGET', result, 's', 'e')
  if known[2] then
    return {known[1], known[2], '1', '0'}
  end
end
local epoch = redis.call('HGET', meta, 'e')
if not epoch then
  epoch = ARGV[3]
  redis.call('HSET', meta, 'e', epoch)
end
"""

#: Drops a version that is not newer.  Numbers of up to 20 digits are compared as text,
#: because Lua's numbers are exact only up to 53 bits.
_VERSION = b"""
local version, version_epoch = ARGV[4], ARGV[5]
if version ~= '0' then
  local stored = redis.call('HMGET', meta, 'v', 've', 's')
  local old = stored[1]
  if old and (version_epoch == '' or version_epoch == stored[2]) then
    local newer
    if string.sub(old, 1, 1) == '-' then
      newer = tonumber(version) > tonumber(old)
    else
      newer = #version > #old or (#version == #old and version > old)
    end
    if not newer then
      return {stored[3] or '0', epoch, '0', '1'}
    end
  end
  redis.call('HSET', meta, 'v', version, 've', version_epoch)
end
"""

_NUMBER = b"""
local offset = redis.call('HINCRBY', meta, 's', 1)
if meta_ttl ~= '0' then
  redis.call('EXPIRE', meta, meta_ttl)
end
if offset == 1 then
  redis.call('DEL', history)
end
local previous = ''
"""

_END = b"""
if channel ~= '' then
  local message
  if delta ~= '' then
    message = '__d1:' .. offset .. ':' .. epoch .. ':' .. #previous .. ':'
      .. previous .. ':' .. #payload .. ':' .. payload
  else
    message = '__p1:' .. offset .. ':' .. epoch .. '__' .. payload
  end
  redis.call(publish, channel, message)
end
if result_ttl ~= '' then
  redis.call('HSET', result, 'e', epoch, 's', offset)
  redis.call('EXPIRE', result, result_ttl)
end
return {offset, epoch, '0', '0'}
"""

#: Keys: stream, meta, result.  Arguments: the publication (payload, PUB/SUB channel,
#: epoch of a new stream, version or 0, its epoch), followed by `StreamSettings`.
PUBLISH_STREAM = Script(
    _BEGIN
    + _VERSION
    + _NUMBER
    + b"""
if delta ~= '' then
  local newest = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1]
  if newest then
    previous = newest[2][2]
  end
end
redis.call('XADD', history, 'MAXLEN', size, offset, 'd', payload)
redis.call('EXPIRE', history, ttl)
"""
    + _END,
    b"3",
)

#: The same with a list, and without versions.  The previous publication is sent without
#: the header that it has in the list.
PUBLISH_LIST = Script(
    _BEGIN
    + _NUMBER
    + b"""
if delta ~= '' then
  local newest = redis.call('LINDEX', history, 0)
  if newest then
    local _, stop = string.find(newest, '__', 3, true)
    previous = stop and string.sub(newest, stop + 1) or ''
  end
end
redis.call('LPUSH', history, '__p1:' .. offset .. ':' .. epoch .. '__' .. payload)
redis.call('LTRIM', history, 0, tonumber(size) - 1)
redis.call('EXPIRE', history, ttl)
"""
    + _END,
    b"3",
)

#: Key: result.  Arguments: payload, PUB/SUB channel, PUBLISH, result ttl.
PUBLISH_ONCE = Script(
    b"""
if redis.call('HEXISTS', KEYS[1], 'e') == 1 then
  return 0
end
redis.call(ARGV[3], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[1], 'e', '')
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
""",
    b"1",
)


# --- Reading history ----------------------------------------------------------

_POSITION = b"""
local history, meta = KEYS[1], KEYS[2]
local known = redis.call('HMGET', meta, 'e', 's')
local epoch, top = known[1], known[2] or '0'
if not epoch then
  epoch, top = ARGV[2], '0'
  redis.call('HSET', meta, 'e', epoch)
end
if ARGV[1] ~= '0' then
  redis.call('EXPIRE', meta, ARGV[1])
end
"""

#: Keys: stream, meta.  Arguments: `ReadStream`.
HISTORY_STREAM = Script(
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
  return {top, epoch, redis.call(command, history, first, last)}
end
return {top, epoch, redis.call(command, history, first, last, 'COUNT', limit)}
""",
    b"2",
)

#: Keys: list, meta.  Arguments: meta ttl, epoch, "" for the position alone.
HISTORY_LIST = Script(
    _POSITION
    + b"""
if ARGV[3] == '' then
  return {top, epoch, {}}
end
return {top, epoch, redis.call('LRANGE', history, 0, -1)}
""",
    b"2",
)


# --- Presence -----------------------------------------------------------------

_PRESENCE = b"""
local expire, data, user_expire, user_clients = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
"""

#: Keys: expiries, data, user expiries, user counts.  Arguments: client, info, user,
#: time of expiry, ttl in seconds, "1" to count users, "1" for field ttl.
ADD_PRESENCE = Script(
    _PRESENCE
    + b"""
local client, info, user, due, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local count_users, field_ttl = ARGV[6] ~= '0', ARGV[7] ~= '0'
local is_new = count_users and redis.call('HEXISTS', data, client) == 0
redis.call('HSET', data, client, info)
redis.call('EXPIRE', data, ttl)
if field_ttl then
  redis.call('HEXPIRE', data, ttl, 'FIELDS', '1', client)
else
  redis.call('ZADD', expire, due, client)
  redis.call('EXPIRE', expire, ttl)
end
if count_users then
  if is_new then
    redis.call('HINCRBY', user_clients, user, 1)
  end
  redis.call('EXPIRE', user_clients, ttl)
  if field_ttl then
    redis.call('HEXPIRE', user_clients, ttl, 'FIELDS', '1', user)
  else
    redis.call('ZADD', user_expire, due, user)
    redis.call('EXPIRE', user_expire, ttl)
  end
end
""",
    b"4",
)

#: Keys as above.  Arguments: client, user, "1" to count users, "1" for field ttl.
REMOVE_PRESENCE = Script(
    _PRESENCE
    + b"""
local client, user = ARGV[1], ARGV[2]
local count_users, field_ttl = ARGV[3] ~= '0', ARGV[4] ~= '0'
local was_there = redis.call('HDEL', data, client) == 1
if not field_ttl then
  redis.call('ZREM', expire, client)
end
if count_users and was_there then
  if redis.call('HINCRBY', user_clients, user, -1) <= 0 then
    redis.call('HDEL', user_clients, user)
    if not field_ttl then
      redis.call('ZREM', user_expire, user)
    end
  end
end
""",
    b"4",
)

#: Key: the departures.  Arguments: user, departure, seconds until all expire.
STORE_DEPARTURE = Script(
    b"""
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
""",
    b"1",
)

_SWEEP = b"""
local function sweep(expiries, hash)
  local over = redis.call('ZRANGEBYSCORE', expiries, '0', ARGV[1])
  for first = 1, #over, 1000 do
    redis.call('HDEL', hash, unpack(over, first, math.min(first + 999, #over)))
  end
  if #over > 0 then
    redis.call('ZREMRANGEBYSCORE', expiries, '0', ARGV[1])
  end
end
"""

#: Keys as above.  Arguments: time, "1" for field ttl.
PRESENCE = Script(
    _PRESENCE
    + _SWEEP
    + b"""
if ARGV[2] == '0' then
  sweep(expire, data)
end
return redis.call('HGETALL', data)
""",
    b"4",
)

#: The same, but counts; requires that users are counted.
PRESENCE_STATS = Script(
    _PRESENCE
    + _SWEEP
    + b"""
if ARGV[2] == '0' then
  sweep(expire, data)
  sweep(user_expire, user_clients)
end
return {redis.call('HLEN', data), redis.call('HLEN', user_clients)}
""",
    b"4",
)

ALL_SCRIPTS = (
    PUBLISH_STREAM,
    PUBLISH_LIST,
    PUBLISH_ONCE,
    HISTORY_STREAM,
    HISTORY_LIST,
    ADD_PRESENCE,
    REMOVE_PRESENCE,
    PRESENCE,
    PRESENCE_STATS,
    STORE_DEPARTURE,
)


async def load_scripts(protocol: CommandProtocol) -> None:
    """Load all scripts into a server, so that a publish never sends one.

    A server that refuses ``SCRIPT LOAD`` receives each script on its first use.
    """
    for script in ALL_SCRIPTS:
        protocol.send(b"SCRIPT", b"LOAD", script.source).addErrback(ignore_result)
    await protocol.ping().addErrback(ignore_result)
