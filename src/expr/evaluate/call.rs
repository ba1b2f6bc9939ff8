//! Calls: arguments, frames, builtins, methods and closures.

use std::sync::Arc;

use smol_str::SmolStr;

use super::{
    Evaluated, MAX_DEPTH, Machine, Stop,
    access::immutable,
    callable::{Builtin, Closure, Unbound, downcast},
    cell,
    frame::{Slot, Variable},
};
use crate::{
    expr::{
        EvalErrorKind,
        node::{Body, BuiltinRef, CallNode, Callee, ClosureNode, Code, MethodRef, Parameters, Passing, Span},
        primitive::{self, Arguments, Budget, Caller, Fault},
    },
    model::{Value, key::Key},
};

/// Evaluated arguments of a call.
#[derive(Debug, Default)]
struct Given {
    positional: Vec<Value>,
    named: Vec<(SmolStr, Value)>,
}

impl Machine {
    pub(super) fn call(&mut self, call: &CallNode, span: Span) -> Evaluated {
        match &call.callee {
            Callee::Builtin(builtin) => {
                let given = self.given(call)?;
                self.call_builtin(builtin, given, span)
            }
            Callee::Method(of, method) => {
                let receiver = self.eval(of)?;
                let given = self.given(call)?;
                self.call_method(receiver, method, given, span)
            }
            Callee::Value(callee) => {
                let function = self.eval(callee)?;
                let given = self.given(call)?;
                self.call_value(&function, given.positional, given.named, span)
            }
        }
    }

    fn given(&mut self, call: &CallNode) -> Result<Given, Stop> {
        let mut given = Given::default();
        if !call.positional.is_empty() {
            given.positional.reserve(call.positional.len());
        }
        for node in &call.positional {
            given.positional.push(self.eval(node)?);
        }
        given.named = self.named(&call.named)?;
        if let Some(rest) = &call.rest {
            let value = cell::open(self.eval(rest)?);
            let items = primitive::iterate(&value, &mut self.budget);
            given.positional.extend(self.at(rest.span, items)?);
        }
        if let Some(rest) = &call.named_rest {
            let Value::Dict(dict) = cell::open(self.eval(rest)?) else {
                return self.fail(rest.span, EvalErrorKind::Type, "argument after ** must be a dict");
            };
            for (key, value) in dict.iter() {
                let Value::Str(name) = key.value() else {
                    return self.fail(rest.span, EvalErrorKind::Type, "keywords must be strings");
                };
                given.named.push((name.clone(), value.clone()));
            }
        }
        Ok(given)
    }

    fn call_builtin(&mut self, builtin: &BuiltinRef, mut given: Given, span: Span) -> Evaluated {
        self.step(span)?;
        if !self.mutates {
            let arguments = Arguments { positional: &given.positional, named: &given.named };
            let result = (builtin.function)(&arguments, self);
            return self.at(span, result);
        }
        let mut copied = false;
        match builtin.passing {
            Passing::Shallow => given.each(|value| Ok(open_pairs(&builtin.name, value)))?,
            Passing::Deep => given.each(|value| {
                let opened = cell::open(value);
                let holds = cell::holds_cells(&opened, &mut self.budget);
                copied |= self.at(span, holds)?;
                self.plain(opened, span)
            })?,
        }
        let result = {
            let arguments = Arguments { positional: &given.positional, named: &given.named };
            let outer = std::mem::replace(&mut self.deep, builtin.passing == Passing::Deep);
            let result = (builtin.function)(&arguments, self);
            self.deep = outer;
            result
        };
        drop(given);
        let result = self.at(span, result)?;
        Ok(if copied { self.made.adopt_outer(result) } else { self.made.adopt(result) })
    }

    fn call_method(&mut self, receiver: Value, method: &MethodRef, given: Given, span: Span) -> Evaluated {
        self.step(span)?;
        let name = method.name.as_str();
        let function = match &receiver {
            Value::Str(_) => method.on_str,
            Value::List(_) | Value::Dict(_) if self.mutates && cell::changes(name) => {
                return self.fail(span, EvalErrorKind::Type, immutable(&receiver));
            }
            Value::Opaque(_) if self.mutates && cell::cell(&receiver).is_some() => {
                return self.call_on_cell(&receiver, name, given, span);
            }
            other => primitive::method(other.type_name(), name),
        };
        let Some(function) = function else { return self.call_member(receiver, name, given, span) };
        let given = if self.mutates { self.plain_given(given, span)? } else { given };
        let arguments = Arguments { positional: &given.positional, named: &given.named };
        let result = function(&receiver, &arguments, self);
        let result = self.at(span, result)?;
        Ok(self.adopt(result))
    }

    fn plain_given(&mut self, mut given: Given, span: Span) -> Result<Given, Stop> {
        given.each(|value| self.plain(value, span))?;
        Ok(given)
    }

    /// A function in a field of a struct or module; else there is no such method.
    fn call_member(&mut self, receiver: Value, name: &str, given: Given, span: Span) -> Evaluated {
        match primitive::attribute(&receiver, name) {
            Ok(function) => self.call_value(&function, given.positional, given.named, span),
            Err(_) => {
                let message = format!("'{}' object has no attribute '{name}'", receiver.type_name());
                self.fail(span, EvalErrorKind::Attribute, message)
            }
        }
    }

    /// A method of a list or dict that may change.
    fn call_on_cell(&mut self, receiver: &Value, name: &str, mut given: Given, span: Span) -> Evaluated {
        let Some(cell) = cell::cell(receiver) else { return Ok(Value::None) };
        match (receiver.type_name(), name) {
            ("list", "sort") => {
                let content = cell.get();
                let mut positional = vec![content];
                positional.append(&mut given.positional);
                let Some(sorted) = super::callable::find("sorted") else { return Ok(Value::None) };
                let result = self.call_builtin(&sorted, Given { positional, named: given.named }, span)?;
                let taken = cell.take();
                self.at(span, taken)?;
                cell.set(cell::open(result));
                return Ok(Value::None);
            }
            ("list", "reverse") => {
                let taken = cell.take();
                let mut content = self.at(span, taken)?;
                if let Value::List(items) = &mut content {
                    Arc::make_mut(items).reverse();
                }
                cell.set(content);
                return Ok(Value::None);
            }
            ("list" | "dict", "copy") => {
                let content = cell.get();
                return Ok(self.made.cell(content));
            }
            ("list", "remove") => return self.remove(cell, given, span),
            _ => {}
        }
        if cell::changes(name) {
            match name {
                "extend" | "update" => given.each(|value| Ok(cell::open(value)))?,
                _ => {}
            }
            for value in &given.positional {
                self.check_nesting(value, span)?;
            }
            let room = self.budget.allocate(cell::ELEMENT_BYTES * (1 + given.positional.len() as u64));
            self.at(span, room)?;
            let taken = cell.take();
            let mut content = self.at(span, taken)?;
            let arguments = Arguments { positional: &given.positional, named: &given.named };
            let result = primitive::mutate(name, &mut content, &arguments, self);
            cell.set(content);
            if let Some(result) = result {
                return self.at(span, result);
            }
        }
        let moves = matches!(name, "get" | "items" | "keys" | "values");
        let content = cell.get();
        let mut copied = false;
        let content = match moves {
            true => content,
            false => {
                let holds = cell::holds_cells(&content, &mut self.budget);
                copied = self.at(span, holds)?;
                self.plain(content, span)?
            }
        };
        let Some(function) = primitive::method(receiver.type_name(), name) else {
            return self.call_member(content, name, given, span);
        };
        let given = if moves { given } else { self.plain_given(given, span)? };
        let arguments = Arguments { positional: &given.positional, named: &given.named };
        let result = function(&content, &arguments, self);
        drop(content);
        let result = self.at(span, result)?;
        Ok(if copied { self.made.adopt_outer(result) } else { self.made.adopt(result) })
    }

    /// `xs.remove(x)`: elements that are cells are compared by what they hold.
    fn remove(&mut self, cell: &cell::Cell, given: Given, span: Span) -> Evaluated {
        let [item] = given.positional.as_slice() else {
            let message = format!("list.remove() takes exactly one argument ({} given)", given.positional.len());
            return self.fail(span, EvalErrorKind::Type, message);
        };
        let item = self.plain(item.clone(), span)?;
        let plain = self.plain(cell.get(), span)?;
        let at = match &plain {
            Value::List(items) => items.iter().position(|other| primitive::equal(other, &item)),
            _ => None,
        };
        let Some(at) = at else { return self.fail(span, EvalErrorKind::Value, "list.remove(x): x not in list") };
        let taken = cell.take();
        let mut content = self.at(span, taken)?;
        if let Value::List(items) = &mut content
            && at < items.len()
        {
            Arc::make_mut(items).remove(at);
        }
        cell.set(content);
        Ok(Value::None)
    }

    fn call_value(
        &mut self,
        function: &Value,
        positional: Vec<Value>,
        named: Vec<(SmolStr, Value)>,
        span: Span,
    ) -> Evaluated {
        if let Some(closure) = downcast::<Closure>(function) {
            return self.call_code(&closure.code, &closure.defaults, &closure.captured, &positional, &named, span);
        }
        if let Some(Builtin(builtin)) = downcast::<Builtin>(function) {
            return self.call_builtin(builtin, Given { positional, named }, span);
        }
        if let Some(method) = downcast::<Unbound>(function) {
            let mut positional = positional;
            let found = positional.first().map_or("nothing", Value::type_name);
            if found != method.of {
                let message = format!("{}.{}() needs a {}, got {found}", method.of, method.name, method.of);
                return self.fail(span, EvalErrorKind::Type, message);
            }
            let receiver = positional.remove(0);
            let on_str = primitive::method("str", &method.name);
            let method = MethodRef { name: method.name.clone(), on_str };
            return self.call_method(receiver, &method, Given { positional, named }, span);
        }
        let message = format!("'{}' object is not callable", function.type_name());
        self.fail(span, EvalErrorKind::Type, message)
    }

    /// Calls a compiled function in a frame of its own.
    pub(super) fn call_code(
        &mut self,
        code: &Arc<Code>,
        defaults: &[Value],
        captured: &[Slot],
        positional: &[Value],
        named: &[(SmolStr, Value)],
        span: Span,
    ) -> Evaluated {
        self.step(span)?;
        let address = Arc::as_ptr(code) as usize;
        if self.active.iter().any(|(active, _)| *active == address) {
            let message = format!("{}() calls itself: there is no recursion", code.name);
            return self.fail(span, EvalErrorKind::Value, message);
        }
        let depth = self.depth + code.depth;
        if depth > MAX_DEPTH {
            return self.fail(span, EvalErrorKind::Limit, "calls are nested too deep");
        }
        let base = self.stack.len();
        self.stack.resize_with(base + code.slots as usize, Slot::default);
        if let Err(fault) = bind(self.stack.get_mut(base..).unwrap_or_default(), code, defaults, positional, named) {
            self.stack.truncate(base);
            return Err(self.stop(span, fault));
        }
        for (slot, variable) in code.captures.iter().zip(captured) {
            if let Some(place) = self.stack.get_mut(base + *slot as usize) {
                *place = variable.clone();
            }
        }
        for slot in &code.boxes {
            self.share(base + *slot as usize);
        }
        let outer = (self.base, self.depth, self.in_library);
        (self.base, self.depth, self.in_library) = (base, depth, code.in_library);
        self.active.push((address, code.span));
        let result = match &code.body {
            Body::Expression(node) => self.eval(node),
            Body::Block(statements) => self.body(statements),
        };
        self.active.pop();
        (self.base, self.depth, self.in_library) = outer;
        self.stack.truncate(base);
        result
    }

    /// Makes the variable in a slot one that closures can share.
    pub(super) fn share(&mut self, at: usize) {
        if let Some(place) = self.stack.get_mut(at) {
            let value = match std::mem::take(place) {
                Slot::Value(value) => Some(value),
                _ => None,
            };
            let variable = Variable::new(value);
            self.shared_variables.push(variable.clone());
            *place = Slot::Shared(variable);
        }
    }

    pub(super) fn closure(&mut self, node: &ClosureNode) -> Evaluated {
        let mut defaults = Vec::with_capacity(node.defaults.len());
        for default in &node.defaults {
            defaults.push(self.eval(default)?);
        }
        let captured =
            node.captured.iter().map(|slot| self.stack.get(self.base + *slot as usize).cloned().unwrap_or_default());
        let captured = captured.collect();
        Ok(Value::Opaque(Arc::new(Closure { code: Arc::clone(&node.code), captured, defaults })))
    }
}

/// `dict([[key, value]])` looks one level deeper than other builtins that move elements.
fn open_pairs(builtin: &str, value: Value) -> Value {
    let value = cell::open(value);
    match (&value, builtin) {
        (Value::List(items), "dict") if items.iter().any(|item| cell::cell(item).is_some()) => {
            Value::list(items.iter().map(|item| cell::open(item.clone())).collect())
        }
        _ => value,
    }
}

impl Given {
    fn each(&mut self, mut change: impl FnMut(Value) -> Evaluated) -> Result<(), Stop> {
        for value in self.positional.iter_mut().chain(self.named.iter_mut().map(|(_, value)| value)) {
            let taken = std::mem::replace(value, Value::None);
            *value = change(taken)?;
        }
        Ok(())
    }
}

impl Caller for Machine {
    fn call(&mut self, function: &Value, arguments: &[Value]) -> Result<Value, Fault> {
        let span = self.active.last().map(|(_, span)| *span).unwrap_or_default();
        let deep = self.deep;
        let mut result = self.call_value(function, arguments.to_vec(), Vec::new(), span);
        if let (Ok(value), true) = (&mut result, self.mutates && deep) {
            result = self.plain(std::mem::replace(value, Value::None), span);
        }
        result.map_err(|stop| {
            let fault = Fault { kind: stop.kind, message: stop.message.clone() };
            self.inner = Some(stop);
            fault
        })
    }

    fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }
}

/// Puts arguments into the first slots of a frame, or says why they do not fit, in Python's words.
fn bind(
    frame: &mut [Slot],
    code: &Code,
    defaults: &[Value],
    positional: &[Value],
    named: &[(SmolStr, Value)],
) -> Result<(), Fault> {
    let parameters = &code.parameters;
    let simple = named.is_empty() && parameters.rest.is_none() && parameters.named_rest.is_none();
    if simple && parameters.keyword_only.is_empty() && positional.len() == parameters.positional.len() {
        for (slot, value) in frame.iter_mut().zip(positional) {
            *slot = Slot::Value(value.clone());
        }
        return Ok(());
    }
    bind_all(frame, code, defaults, positional, named)
}

#[inline(never)]
fn bind_all(
    frame: &mut [Slot],
    code: &Code,
    defaults: &[Value],
    positional: &[Value],
    named: &[(SmolStr, Value)],
) -> Result<(), Fault> {
    let name = &code.name;
    let parameters = &code.parameters;
    let wrong = |message: String| Err(Fault { kind: EvalErrorKind::Type, message });
    let count = parameters.positional.len();
    let direct = positional.len().min(count);
    for (slot, value) in frame.iter_mut().zip(&positional[..direct]) {
        *slot = Slot::Value(value.clone());
    }
    let rest = &positional[direct..];
    match parameters.rest {
        Some(slot) => put(frame, slot as usize, Value::Tuple(rest.into())),
        None if !rest.is_empty() => return wrong(too_many(name, parameters, positional.len())),
        None => {}
    }
    let mut others = crate::model::Dict::new();
    for (key, value) in named {
        let all = || parameters.positional.iter().chain(&parameters.keyword_only);
        let at = all().position(|parameter| parameter.name == *key).filter(|at| *at >= parameters.positional_only);
        match at {
            Some(at) if !matches!(frame.get(at), Some(Slot::Unset)) => {
                return wrong(format!("{name}() got multiple values for argument '{key}'"));
            }
            Some(at) => put(frame, at, value.clone()),
            None if parameters.named_rest.is_some() => {
                others.insert(Key::from(key.as_str()), value.clone());
            }
            None => return wrong(format!("{name}() got an unexpected keyword argument '{key}'")),
        }
    }
    if let Some(slot) = parameters.named_rest {
        put(frame, slot as usize, Value::Dict(Arc::new(others)));
    }
    for (group, first, kind) in
        [(&parameters.positional, 0, "positional"), (&parameters.keyword_only, count, "keyword-only")]
    {
        let mut missing = Vec::new();
        for (idx, parameter) in group.iter().enumerate() {
            if !matches!(frame.get(first + idx), Some(Slot::Unset)) {
                continue;
            }
            match parameter.default.and_then(|default| defaults.get(default as usize)) {
                Some(value) => put(frame, first + idx, value.clone()),
                None => missing.push(format!("'{}'", parameter.name)),
            }
        }
        if !missing.is_empty() {
            let plural = if missing.len() == 1 { "" } else { "s" };
            let names = match missing.split_last() {
                Some((last, [])) => last.clone(),
                Some((last, [one])) => format!("{one} and {last}"),
                Some((last, more)) => format!("{}, and {last}", more.join(", ")),
                None => String::new(),
            };
            return wrong(format!("{name}() missing {} required {kind} argument{plural}: {names}", missing.len()));
        }
    }
    Ok(())
}

fn put(frame: &mut [Slot], at: usize, value: Value) {
    if let Some(slot) = frame.get_mut(at) {
        *slot = Slot::Value(value);
    }
}

fn too_many(name: &str, parameters: &Parameters, given: usize) -> String {
    let most = parameters.positional.len();
    let least = parameters.required();
    let takes = if least == most { most.to_string() } else { format!("from {least} to {most}") };
    let plural = if most == 1 { "argument" } else { "arguments" };
    let were = if given == 1 { "was" } else { "were" };
    format!("{name}() takes {takes} positional {plural} but {given} {were} given")
}
