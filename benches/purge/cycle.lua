-- Asks for the objects one after the other, again and again.
local paths = {}
for object = 1, tonumber(os.getenv("OBJECTS")) do
    paths[object] = "/o/" .. object .. ".jpg"
end
local requests, at = {}, 0
function init()
    for object, path in ipairs(paths) do
        requests[object] = wrk.format("GET", path, {Host = "bench"})
    end
end
function request()
    at = at % #requests + 1
    return requests[at]
end
