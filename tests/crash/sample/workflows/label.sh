# The effect of a program: it outlives an engine that is killed, unless the next one ends it.
mark() {
    printf '{"what": "%s", "run": "%s", "path": "%s", "key": "%s", "value": "%s"}\n' \
        "$1" "$FLEET_RUN_ID" "$FLEET_STEP" "$FLEET_IDEMPOTENCY_KEY" "$2" >> effects.jsonl
}
mark begun "$1"
sleep 0.02
mark happened "$1"
sleep 0.02
echo "$1"
