/* A stand-in for CUDA's runtime library, for tests alone: "device" memory is host memory, and everything happens at once.
 *
 * Nothing that it times is a GPU's time. It is strict where the real library is: copies must lie inside of live memory,
 * handles must be live, an event must have been recorded. -DCUDA_10 leaves out what 10.2 lacks.
 *
 * SIMULATED_CUDA_DEVICE       name,major,minor            default: Simulated GPU,8,9
 * SIMULATED_CUDA_FAIL_MALLOC  n: the n-th cudaMalloc since simulated_reset() finds no memory
 * SIMULATED_CUDA_FAIL         name,n: the n-th call of the function `name` since simulated_reset() fails
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, INVALID_VALUE = 1, NO_MEMORY = 2, INVALID_HANDLE = 400, NOT_READY = 600, LAUNCH_FAILURE = 719, BAD_CAPTURE = 901 };
enum { MEMORY, STREAM, EVENT, GRAPH, GRAPH_EXEC, KINDS };
enum { ALL_BYTES = 1 << 30 };

typedef struct Thing {
    int kind;
    void *address; /* of memory; of everything else the thing itself */
    size_t size;
    int flag; /* a stream captures, an event was recorded */
    double when_ms;
    struct Thing *next;
} Thing;

static Thing *things = NULL;
static int last_error = OK, mallocs = 0, launches = 0, watched = 0;

static int told(int status) {
    if (status != OK) last_error = status;
    return status;
}

/* True for the call that SIMULATED_CUDA_FAIL names. */
static int fails(const char *function) {
    const char *given = getenv("SIMULATED_CUDA_FAIL"), *comma = given == NULL ? NULL : strchr(given, ',');
    if (comma == NULL || strlen(function) != (size_t)(comma - given) || strncmp(function, given, strlen(function)) != 0)
        return 0;
    watched += 1;
    return watched == atoi(comma + 1);
}
#define MAY_FAIL \
    if (fails(__func__)) return told(LAUNCH_FAILURE)

static Thing *add(int kind, size_t size) {
    Thing *thing = calloc(1, sizeof(Thing));
    thing->kind = kind;
    thing->size = size;
    thing->address = kind == MEMORY ? calloc(1, size) : (void *)thing;
    thing->next = things;
    things = thing;
    return thing;
}

static Thing *find(int kind, const void *address) {
    for (Thing *thing = things; thing != NULL; thing = thing->next)
        if (thing->kind == kind && thing->address == address) return thing;
    return NULL;
}

static int drop(int kind, void *address) {
    for (Thing **link = &things; *link != NULL; link = &(*link)->next) {
        Thing *thing = *link;
        if (thing->kind != kind || thing->address != address) continue;
        *link = thing->next;
        if (kind == MEMORY) free(address);
        free(thing);
        return OK;
    }
    return told(kind == MEMORY ? INVALID_VALUE : INVALID_HANDLE);
}

static int inside(const void *address, size_t count) {
    for (Thing *thing = things; thing != NULL; thing = thing->next) {
        const char *start = thing->address;
        if (thing->kind == MEMORY && (const char *)address >= start && (const char *)address + count <= start + thing->size)
            return 1;
    }
    return 0;
}

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e3 * (double)time.tv_sec + 1e-6 * (double)time.tv_nsec;
}

static void device(char *name, int *major, int *minor) {
    const char *given = getenv("SIMULATED_CUDA_DEVICE");
    strcpy(name, "Simulated GPU");
    *major = 8;
    *minor = 9;
    if (given != NULL) sscanf(given, "%255[^,],%d,%d", name, major, minor);
}

/* For tests: what is live, of one kind or (-1) of all, and how many graphs were launched. */
int simulated_live(int kind) {
    int count = 0;
    for (Thing *thing = things; thing != NULL; thing = thing->next) count += kind < 0 || thing->kind == kind;
    return count;
}
int simulated_launches(void) { return launches; }
void simulated_reset(void) { mallocs = launches = watched = last_error = 0; }

int cudaSetDevice(int number) { return told(number == 0 ? OK : 101); }
int cudaGetLastError(void) {
    int status = last_error;
    last_error = OK;
    return status;
}
const char *cudaGetErrorString(int status) {
    switch (status) {
    case OK: return "no error";
    case INVALID_VALUE: return "invalid argument";
    case NO_MEMORY: return "out of memory";
    case INVALID_HANDLE: return "invalid resource handle";
    case NOT_READY: return "device not ready";
    case LAUNCH_FAILURE: return "unspecified launch failure";
    case BAD_CAPTURE: return "operation failed due to a previous error during capture";
    default: return "unrecognized error code";
    }
}

int cudaMalloc(void **address, size_t size) {
    const char *fails = getenv("SIMULATED_CUDA_FAIL_MALLOC");
    mallocs += 1;
    if (size > ALL_BYTES || (fails != NULL && atoi(fails) == mallocs)) return told(NO_MEMORY);
    *address = add(MEMORY, size)->address;
    return OK;
}
int cudaFree(void *address) { return address == NULL ? OK : drop(MEMORY, address); }
int cudaMemcpyAsync(void *to, const void *from, size_t count, int kind, void *stream) {
    MAY_FAIL;
    if (find(STREAM, stream) == NULL) return told(INVALID_HANDLE);
    if ((kind != 1 && kind != 2) || !inside(kind == 1 ? to : from, count)) return told(INVALID_VALUE);
    memcpy(to, from, count);
    return OK;
}
int cudaMemGetInfo(size_t *available, size_t *total) {
    MAY_FAIL;
    *total = ALL_BYTES;
    *available = ALL_BYTES;
    for (Thing *thing = things; thing != NULL; thing = thing->next)
        if (thing->kind == MEMORY) *available -= thing->size;
    return OK;
}

int cudaStreamCreate(void **stream) {
    MAY_FAIL;
    *stream = add(STREAM, 0);
    return OK;
}
int cudaStreamDestroy(void *stream) { return drop(STREAM, stream); }
int cudaStreamSynchronize(void *stream) {
    MAY_FAIL;
    Thing *thing = find(STREAM, stream);
    return told(thing == NULL ? INVALID_HANDLE : thing->flag ? BAD_CAPTURE : OK);
}

int cudaEventCreate(void **event) {
    MAY_FAIL;
    *event = add(EVENT, 0);
    return OK;
}
int cudaEventDestroy(void *event) { return drop(EVENT, event); }
int cudaEventRecord(void *event, void *stream) {
    MAY_FAIL;
    Thing *thing = find(EVENT, event);
    if (thing == NULL || find(STREAM, stream) == NULL) return told(INVALID_HANDLE);
    thing->flag = 1;
    thing->when_ms = now_ms();
    return OK;
}
int cudaEventSynchronize(void *event) {
    MAY_FAIL;
    return told(find(EVENT, event) == NULL ? INVALID_HANDLE : OK);
}
int cudaEventElapsedTime(float *elapsed, void *start, void *end) {
    MAY_FAIL;
    Thing *first = find(EVENT, start), *second = find(EVENT, end);
    if (first == NULL || second == NULL || !first->flag || !second->flag) return told(INVALID_HANDLE);
    *elapsed = (float)(second->when_ms - first->when_ms);
    return OK;
}

int cudaStreamBeginCapture(void *stream, int mode) {
    MAY_FAIL;
    Thing *thing = find(STREAM, stream);
    (void)mode;
    if (thing == NULL || thing->flag) return told(INVALID_HANDLE);
    thing->flag = 1;
    return OK;
}
int cudaStreamEndCapture(void *stream, void **graph) {
    Thing *thing = find(STREAM, stream);
    if (thing == NULL || !thing->flag) return told(INVALID_HANDLE);
    thing->flag = 0;
    MAY_FAIL; /* an invalid capture ends, too */
    *graph = add(GRAPH, 0);
    return OK;
}
static int instantiate(void **exec, void *graph) {
    if (fails("cudaGraphInstantiate")) return told(LAUNCH_FAILURE);
    if (find(GRAPH, graph) == NULL) return told(INVALID_HANDLE);
    *exec = add(GRAPH_EXEC, 0);
    return OK;
}
#ifdef CUDA_10
int cudaGraphInstantiate(void **exec, void *graph, void **node, char *text, size_t size) {
    return node != NULL || text != NULL || size != 0 ? told(INVALID_VALUE) : instantiate(exec, graph);
}
#else
int cudaGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) {
    return flags != 0 ? told(INVALID_VALUE) : instantiate(exec, graph);
}
#endif
int cudaGraphDestroy(void *graph) { return drop(GRAPH, graph); }
int cudaGraphExecDestroy(void *exec) { return drop(GRAPH_EXEC, exec); }
int cudaGraphLaunch(void *exec, void *stream) {
    MAY_FAIL;
    if (find(GRAPH_EXEC, exec) == NULL || find(STREAM, stream) == NULL) return told(INVALID_HANDLE);
    launches += 1;
    return OK;
}

int cudaDeviceGetAttribute(int *value, int attribute, int number) {
    char name[256];
    int major, minor;
    device(name, &major, &minor);
    if (number != 0 || (attribute != 75 && attribute != 76)) return told(INVALID_VALUE);
    *value = attribute == 75 ? major : minor;
    return OK;
}
static int properties(char *record) {
    int major, minor;
    device(record, &major, &minor);
    return OK;
}
#ifdef CUDA_10
int cudaGetDeviceProperties(char *record, int number) { return number == 0 ? properties(record) : told(101); }
#else
int cudaGetDeviceProperties_v2(char *record, int number) { return number == 0 ? properties(record) : told(101); }
#endif
