-- Comparing positions, for the scripts that begin with this file.

-- Halves of a position have up to 20 digits, more than a Lua number holds: compare them as text.
local function larger(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end
local function is_after(a, b)
  if a == b then return false end
  local a_ms, a_counter = a:match('^(%d+)-(%d+)$')
  local b_ms, b_counter = b:match('^(%d+)-(%d+)$')
  if a_ms ~= b_ms then return larger(a_ms, b_ms) end
  return larger(a_counter, b_counter)
end

