/* One function for each macro or internal that Rust cannot reach. No logic here. */
#include <patchlevel.h>

#if PY_VERSION_HEX < 0x030C0000
#define Py_BUILD_CORE 1
#include <Python.h>
#include "internal/pycore_runtime.h"

/* PyGILState_Ensure() finds its thread state under this key; before 3.12 nothing but the first
 * thread state of a thread ever gets there, so a sub-interpreter has to put its own. */
int mp_gilstate_bind(PyThreadState *state);
int mp_gilstate_bind(PyThreadState *state)
{
    return PyThread_tss_set(&_PyRuntime.gilstate.autoTSSkey, state);
}
#else
#include <Python.h>
#endif

void mp_trashcan(PyObject *object, destructor deallocate, void (*body)(PyObject *));
void mp_trashcan(PyObject *object, destructor deallocate, void (*body)(PyObject *))
{
#if PY_VERSION_HEX >= 0x030D0000 && PY_VERSION_HEX < 0x030E0000
    /* 3.13 lets 10,000 of them nest, whatever the stack of httpd's threads can hold. */
    PyThreadState *state = PyThreadState_Get();
    int beyond = state->c_recursion_remaining > 1000 ? state->c_recursion_remaining - 1000 : 0;
    state->c_recursion_remaining -= beyond;
#endif
    (void)deallocate; /* 3.14 does not look at it. */
    Py_TRASHCAN_BEGIN(object, deallocate)
    body(object);
    Py_TRASHCAN_END
#if PY_VERSION_HEX >= 0x030D0000 && PY_VERSION_HEX < 0x030E0000
    state->c_recursion_remaining += beyond;
#endif
}
