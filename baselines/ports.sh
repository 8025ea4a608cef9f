# Ports for servers that are started for a while; for scripts that source this.

next_port=$((20000 + RANDOM % 12000))

# Sets the variable named to a port of loopback where nobody listens, another one each time; below those that the system
# gives out by itself.
free_port() {
    local -n port_found="$1"
    while
        next_port=$((next_port < 31999 ? next_port + 1 : 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$next_port") 2>/dev/null
    do :; done
    port_found=$next_port
}
