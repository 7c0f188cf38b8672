/* The limit that a login is measured against: search a person, then bind as them, with nothing in between.
 *
 * Each thread has two connections over TLS, one bound as the service account for searches and one for binds,
 * opened before the time starts. Prints: logins, and in nanoseconds the time, the median and the 99th percentile.
 *
 * Arguments: URL CA_FILE SERVICE_DN BASE_DN PEOPLE THREADS MILLISECONDS; the service account's password is in
 * SERVICE_PASSWORD. Person N has the uid pNNNNN and the password "password of pNNNNN". */
#include <ldap.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_LOGINS 1000000

static const char *base;
static long people, threads;
static uint64_t end;
static pthread_barrier_t ready;

struct caller {
    LDAP *search, *bind;
    long number, logins;
    uint64_t *taken;
    unsigned random;
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void check(int code, const char *what) {
    if (code != LDAP_SUCCESS) {
        fprintf(stderr, "%s: %s\n", what, ldap_err2string(code));
        exit(1);
    }
}

static void bind_as(LDAP *ldap, const char *dn, const char *password) {
    struct berval secret = {strlen(password), (char *)password};
    check(ldap_sasl_bind_s(ldap, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL), "bind");
}

static LDAP *connect_to(const char *url) {
    LDAP *ldap;
    int version = LDAP_VERSION3;
    check(ldap_initialize(&ldap, url), "initialize");
    check(ldap_set_option(ldap, LDAP_OPT_PROTOCOL_VERSION, &version), "version");
    return ldap;
}

static void login(struct caller *caller, long person) {
    static char *attributes[] = {"entryUUID", "uid", "mail", "displayName", "givenName", "sn", NULL};
    char filter[64], password[64];
    LDAPMessage *found;
    snprintf(filter, sizeof filter, "(uid=p%05ld)", person);
    snprintf(password, sizeof password, "password of p%05ld", person);
    check(ldap_search_ext_s(caller->search, base, LDAP_SCOPE_SUBTREE, filter, attributes, 0, NULL, NULL, NULL, 2,
                            &found),
          "search");
    LDAPMessage *entry = ldap_first_entry(caller->search, found);
    if (entry == NULL) {
        fprintf(stderr, "%s: nobody\n", filter);
        exit(1);
    }
    for (int i = 0; attributes[i] != NULL; i++)
        ldap_value_free_len(ldap_get_values_len(caller->search, entry, attributes[i]));
    char *dn = ldap_get_dn(caller->search, entry);
    bind_as(caller->bind, dn, password);
    ldap_memfree(dn);
    ldap_msgfree(found);
}

static void *call(void *argument) {
    struct caller *caller = argument;
    pthread_barrier_wait(&ready);
    for (uint64_t start = now(); start < end && caller->logins < MOST_LOGINS;) {
        long share = people / threads;
        login(caller, caller->number + threads * (rand_r(&caller->random) % share));
        uint64_t done = now();
        caller->taken[caller->logins++] = done - start;
        start = done;
    }
    return NULL;
}

static int compare(const void *one, const void *other) {
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

int main(int count, char **arguments) {
    if (count != 8) {
        fprintf(stderr, "URL CA_FILE SERVICE_DN BASE_DN PEOPLE THREADS MILLISECONDS\n");
        return 2;
    }
    check(ldap_set_option(NULL, LDAP_OPT_X_TLS_CACERTFILE, arguments[2]), "CA file");
    base = arguments[4];
    people = atol(arguments[5]);
    threads = atol(arguments[6]);
    struct caller *callers = calloc((size_t)threads, sizeof *callers);
    pthread_t *ids = calloc((size_t)threads, sizeof *ids);
    pthread_barrier_init(&ready, NULL, (unsigned)threads + 1);
    for (long i = 0; i < threads; i++) {
        struct caller *caller = &callers[i];
        caller->number = i;
        caller->random = (unsigned)(i + now());
        caller->taken = malloc(MOST_LOGINS * sizeof *caller->taken);
        caller->search = connect_to(arguments[1]);
        caller->bind = connect_to(arguments[1]);
        bind_as(caller->search, arguments[3], getenv("SERVICE_PASSWORD"));
        end = UINT64_MAX;
        login(caller, i);
        pthread_create(&ids[i], NULL, call, caller);
    }
    uint64_t start = now();
    end = start + (uint64_t)atol(arguments[7]) * 1000000;
    pthread_barrier_wait(&ready);
    long logins = 0;
    for (long i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        logins += callers[i].logins;
    }
    uint64_t took = now() - start, *all = malloc((size_t)(logins + 1) * sizeof *all), *next = all;
    for (long i = 0; i < threads; i++) {
        memcpy(next, callers[i].taken, (size_t)callers[i].logins * sizeof *all);
        next += callers[i].logins;
    }
    qsort(all, (size_t)logins, sizeof *all, compare);
    printf("%ld %llu %llu %llu\n", logins, (unsigned long long)took, (unsigned long long)all[logins / 2],
           (unsigned long long)all[logins - 1 - logins / 100]);
    return 0;
}
