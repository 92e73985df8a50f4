-- One key of the cache: the only way in which the API reads or changes it. The epoch stands in the
-- text, so a node that has restarted or was promoted since, and may have lost writes, does not
-- know the script and says so (NOSCRIPT): scripts are neither persisted nor replicated.
--
-- A cell is a letter, the epoch and:
--   R  fingerprint of the row's shape (16), payload
--   L  token of the reader that loads the row (16)
--   W  of each writer its token (16) and when it counts as dead, in ms (13); or '*': too many
-- A cell of another epoch is as good as none.
local EPOCH = '@EPOCH@'
local ENTRY, WRITERS_MAX = 29, 64

local key, operation = KEYS[1], ARGV[1]
local cell = redis.call('GET', key)
local kind = cell and cell:sub(2, 17) == EPOCH and cell:sub(1, 1)
local rest = kind and cell:sub(18)

-- The living writers but the one of the token.
local function others(token)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local kept, alive = {}, string.format('%013d', now)
  for at = 1, #rest, ENTRY do
    local writer, dies = rest:sub(at, at + 15), rest:sub(at + 16, at + ENTRY - 1)
    if writer ~= token and dies > alive then
      kept[#kept + 1] = writer .. dies
    end
  end
  return kept, now
end

if operation == 'ask' then
  local token, lease, shape = ARGV[2], ARGV[3], ARGV[4]
  if kind == 'R' and rest:sub(1, 16) == shape then
    return {'hit', rest:sub(17)}
  elseif kind == 'L' then
    return {'held', rest}
  elseif kind == 'W' then
    return {'written', ''}
  end
  redis.call('SET', key, 'L' .. EPOCH .. token, 'PX', lease)
  return {'granted', ''}

elseif operation == 'peek' then
  if kind == 'R' and rest:sub(1, 16) == ARGV[2] then
    return {'hit', rest:sub(17)}
  end
  return {'none', ''}

elseif operation == 'fill' then
  local token, ttl, shape, payload = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
  if kind ~= 'L' or rest ~= token then
    return {'none', ''}
  end
  redis.call('SET', key, 'R' .. EPOCH .. shape .. payload, 'PX', ttl)
  return {'stored', ''}

elseif operation == 'intend' then
  local token, life = ARGV[2], tonumber(ARGV[3])
  if kind ~= 'W' then
    rest = ''
  end
  local writers = '*'
  if rest ~= '*' then
    local kept, now = others(token)
    kept[#kept + 1] = token .. string.format('%013d', now + life)
    if #kept <= WRITERS_MAX then
      writers = table.concat(kept)
    end
  end
  redis.call('SET', key, 'W' .. EPOCH .. writers, 'PX', life)
  return {'stored', ''}

elseif operation == 'settle' then
  if kind == 'W' then
    local kept = rest == '*' and {'*'} or others(ARGV[2])
    if #kept > 0 then
      redis.call('SET', key, 'W' .. EPOCH .. table.concat(kept), 'KEEPTTL')
      return {'stored', ''}
    end
  end
  if kind then
    redis.call('DEL', key)
  end
  return {'none', ''}
end

return redis.error_reply('unknown operation')
