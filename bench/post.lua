-- For wrk: POST one body again and again, and tell the result as one line of JSON.
-- Arguments: the file of the body, and the API key.

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "Bearer " .. arguments[2]
end

function done(summary, latency, requests)
  local errors = summary.errors
  local refused = errors.status
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    'result {"requests":%d,"refused":%d,"broken":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"events":0}\n',
    summary.requests, refused, broken, summary.duration / 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
